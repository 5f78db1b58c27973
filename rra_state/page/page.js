"use strict";
// The map of runs, the search, the filter and the tooltips. No library; texts go into the page as text only.
(() => {
  const NAMES = ["archived", "waiting", "failed", "open", "gap"];
  const WORDS = ["archived", "waiting", "failed", "still being written", "without a record"];
  const [ARCHIVED, WAITING, FAILED, OPEN, GAP] = NAMES.keys();
  const DRAWN = [FAILED, WAITING, OPEN, ARCHIVED];
  const BLOCKS = [...Array(17).keys()].flatMap((power) => [1, 2, 5].map((each) => each * 10 ** power));
  const TOP = 5;  // room above the first row for its label
  const FEWEST = 50, MOST = 2000;  // runs that a closer look shows at least, and one by one
  const OLD_AFTER_MINUTES = 60, RELOAD_MINUTES = 2;

  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const number = (value) => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  const plural = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
  const span = (low, high) => (low === high ? `run ${low}` : `runs ${low}\u2013${high}`);
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  const when = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
  const within = (ranges, run) => ranges.some(([low, high]) => low <= run && run <= high);

  // ---- the runs ----------------------------------------------------------------------------------------------------

  const segments = data.segments;
  const known = segments.length > 0;
  const lowest = known ? segments[0][0] : 0;
  const highest = known ? segments.at(-1)[0] + segments.at(-1)[1] - 1 : -1;
  const places = [];  // of each segment: how many runs with a record lie before it
  segments.reduce((before, [, length, code], index) => {
    places[index] = before;
    return before + (code === GAP ? 0 : length);
  }, 0);

  function segmentOf(run) {
    let low = 0, high = segments.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const [first, length] = segments[middle];
      if (run < first) high = middle - 1;
      else if (run >= first + length) low = middle + 1;
      else return middle;
    }
    return -1;
  }

  const columns = {};
  function column(name) {
    return (columns[name] ??= data.runs[name].split(","));
  }
  function imported() {
    if (!columns.times) {
      let before = 0;
      columns.times = column("imported").map((text) => (text === "" ? null : (before += Number(text))));
    }
    return columns.times;
  }

  function facts(run, segment) {
    const place = places[segment] + run - segments[segment][0];
    const inArtdaqDB = imported()[place] ?? null;
    const delay = column("migrated")[place], size = column("size")[place], name = column("configuration")[place];
    return {
      inArtdaqDB,
      inUconDB: delay ? (inArtdaqDB ?? 0) + Number(delay) : null,
      size: size ? Number(size) : null,
      configuration: name ? data.runs.configurations[Number(name)] : null,
      verified: !within(data.runs.unverified, run),
    };
  }

  /** Two texts on a run: whether it is safe, and what else is known. */
  function describe(run) {
    const segment = segmentOf(run);
    if (segment < 0) {
      const told = known ? `The runs here go from ${lowest} to ${highest}.` : "No run is known.";
      return [`Run ${run} is not known.`, told];
    }
    const [first, length, code] = segments[segment];
    if (code === GAP) {
      const others = length > 1 ? `Numbers ${first} to ${first + length - 1} are missing.` : "";
      return [`There is no record of run ${run}.`, others];
    }
    const { inArtdaqDB, inUconDB, size, configuration, verified } = facts(run, segment);
    const told = [
      inArtdaqDB && `in artdaqDB since ${when(inArtdaqDB)}`,
      inUconDB && `in UconDB since ${when(inUconDB)}`,
      size && plural(size, "byte"),
      configuration && `configuration ${configuration}`,
      code === ARCHIVED && (verified ? "read back and compared" : "only seen in a listing, not read back"),
    ].filter(Boolean);
    const more = told.length ? capital(told.join(", ")) + "." : "";
    if (code === ARCHIVED) return [`Run ${run} is archived.`, more];
    if (code === OPEN) return [`Run ${run} is still being written.`, more];
    const reason = data.reasons.find((each) => within(each.runs, run));
    if (code === FAILED) {
      const why = reason ? `${reason.kind} in the ${reason.stage}: ${reason.text.replaceAll("<run>", run)}` : "";
      const what = inUconDB ? `The record of run ${run} changed, and was not archived again.` : `Run ${run} is not archived.`;
      return [what, [why, more].filter(Boolean).join(" \u2013 ")];
    }
    return [`Run ${run} waits for its ${inArtdaqDB ? "migration into UconDB" : "import into artdaqDB"}.`, more];
  }

  // ---- the tooltip -------------------------------------------------------------------------------------------------

  const tip = find("tip"), said = find("said");
  function showTip(text, box) {
    tip.textContent = text;
    tip.hidden = false;
    const size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const above = box.top - size.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
  }
  const hideTip = () => { tip.hidden = true; };
  addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  addEventListener("scroll", hideTip, { passive: true });

  // ---- the map -----------------------------------------------------------------------------------------------------

  let only = null;  // the one state that is shown in full, null for all

  class RunMap {
    constructor(element, choose) {
      this.element = element;
      this.canvas = element.querySelector("canvas");
      this.choose = choose;
      this.cursor = null;
      this.markedRun = null;
      element.addEventListener("pointermove", (event) => this.hover(event));
      element.addEventListener("pointerleave", () => this.leave());
      element.addEventListener("click", (event) => {
        const cell = this.cellAt(event);
        if (cell !== null) { this.cursor = cell; this.draw(); this.choose(...this.runsOf(cell), event.detail === 0); }
      });
      element.addEventListener("keydown", (event) => this.key(event));
      element.addEventListener("focus", () => {
        if (element.matches(":focus-visible")) this.move(this.cursor ?? this.cellOf(Math.max(this.first, 0)));
      });
      element.addEventListener("blur", () => this.leave());
      new ResizeObserver(() => { if (this.width !== element.clientWidth) this.layout(); }).observe(element);
    }

    /** Show the numbers from first to last; at most `most` runs in one cell. */
    show(first, last, most = Infinity) {
      [this.first, this.last, this.most, this.cursor] = [first, last, most, null];
      this.layout();
    }

    layout() {
      if (this.first === undefined) return;
      const width = (this.width = this.element.clientWidth);
      if (width === 0) return;
      const small = width < 560, margin = Math.max(34, 9 + 7.4 * String(this.last).length);
      const smallest = small ? 10 : 9, highestMap = small ? 460 : 360, total = this.last - this.first + 1;
      for (const block of BLOCKS) {
        if (block > this.most) break;
        const room = Math.floor((width - margin) / smallest);
        const wide = [100, 50, 40, 25, 20, 10].find((each) => each <= room) ?? 5;
        const across = total <= 120 ? ([25, 20].find((each) => each * 18 <= width - margin) ?? 10) : wide;
        const start = this.most === 1 ? this.first : Math.floor(this.first / (block * across)) * block * across;
        const rows = Math.ceil((this.last + 1 - start) / (block * across));
        const pitch = Math.min(total <= 1000 ? 27 : 22, (width - margin) / across);
        Object.assign(this, { block, across, start, rows, pitch, margin });
        if (rows * pitch <= highestMap) break;
      }
      this.cursor = null;
      this.count();
      this.draw();
      this.onLayout?.(this);
    }

    /** How many runs of each state every cell has. */
    count() {
      const counts = (this.counts = new Uint32Array(this.rows * this.across * NAMES.length));
      for (const [first, length, code] of segments) {
        let run = Math.max(first, this.first);
        const end = Math.min(first + length - 1, this.last);
        while (run <= end) {
          const cell = Math.floor((run - this.start) / this.block);
          const next = Math.min(end + 1, this.start + (cell + 1) * this.block);
          counts[cell * NAMES.length + code] += next - run;
          run = next;
        }
      }
    }

    draw() {
      if (!this.counts) return;
      const { canvas, margin, pitch, across, rows } = this, ratio = devicePixelRatio || 1;
      const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(`--${name}`);
      const width = Math.ceil(margin + across * pitch), height = Math.ceil(rows * pitch) + 2 * TOP;
      [canvas.width, canvas.height] = [width * ratio, height * ratio];
      [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.font = `11.5px ${getComputedStyle(this.element).fontFamily}`;
      pen.fillStyle = colour("soft");
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      const every = Math.ceil(16 / pitch);
      for (let row = 0; row < rows; row += every) {
        pen.fillText(String(this.start + row * across * this.block), margin - 9, TOP + (row + 0.5) * pitch);
      }
      const colours = NAMES.map((name) => colour(name).trim());
      for (let cell = 0; cell < rows * across; cell++) this.drawCell(pen, cell, colours);
      pen.strokeStyle = colour("ink");
      pen.lineWidth = 2;
      for (const cell of [this.markedRun && this.cellOf(this.markedRun), this.cursor]) {
        if (cell === null || !this.isCell(cell)) continue;
        const [x, y] = this.corner(cell);
        pen.strokeRect(x - 1.5, y - 1.5, pitch + 1, pitch + 1);
      }
    }

    /** From the bottom up: failed, waiting, open, archived. What is there at all is high enough to be seen. */
    drawCell(pen, cell, colours) {
      const counts = this.counts.subarray(cell * NAMES.length, (cell + 1) * NAMES.length);
      const present = counts.reduce((sum, each) => sum + each, 0);
      if (present === 0) return;
      const [x, y] = this.corner(cell), size = this.pitch - (this.pitch > 14 ? 3 : 2);
      const faint = (code) => (only !== null && only !== code ? 0.16 : 1);
      if (counts[GAP] === present) {
        pen.globalAlpha = faint(GAP);
        pen.fillStyle = colours[GAP];
        pen.fillRect(x, y + size / 2 - 0.75, size, 1.5);
      }
      let bottom = y + size;
      for (const code of DRAWN) {
        if (counts[code] === 0) continue;
        const above = DRAWN.slice(DRAWN.indexOf(code) + 1).filter((each) => counts[each] > 0).length;
        const share = Math.max(0.34, counts[code] / present) * size;
        const height = Math.min(share, bottom - y - above * 0.2 * size);
        pen.globalAlpha = faint(code);
        this.fill(pen, code, x, bottom - height, size, height, colours[code], present === counts[code]);
        bottom -= height;
      }
      pen.globalAlpha = 1;
    }

    /** Shapes differ too, for those who do not see the colours: waiting is half full, open a dot. */
    fill(pen, code, x, y, width, height, colour, alone) {
      pen.fillStyle = pen.strokeStyle = colour;
      if (alone && code === WAITING) {
        pen.fillRect(x, y + height * 0.45, width, height * 0.55);
        pen.lineWidth = 1.5;
        pen.strokeRect(x + 0.75, y + 0.75, width - 1.5, height - 1.5);
      } else if (alone && code === OPEN) {
        pen.lineWidth = 1.5;
        pen.strokeRect(x + 0.75, y + 0.75, width - 1.5, height - 1.5);
        pen.beginPath();
        pen.arc(x + width / 2, y + height / 2, width * 0.22, 0, 7);
        pen.fill();
      } else pen.fillRect(x, y, width, height);
    }

    corner(cell) {
      return [this.margin + (cell % this.across) * this.pitch, Math.floor(cell / this.across) * this.pitch + TOP];
    }

    cellOf(run) { return Math.floor((run - this.start) / this.block); }

    runsOf(cell) {
      const first = this.start + cell * this.block;
      return [Math.max(first, this.first), Math.min(first + this.block - 1, this.last)];
    }

    isCell(cell) {
      const first = this.start + cell * this.block;
      return cell >= 0 && first <= this.last && first + this.block > this.first;
    }

    cellAt(event) {
      const box = this.canvas.getBoundingClientRect();
      const across = Math.floor((event.clientX - box.left - this.margin) / this.pitch);
      const cell = Math.floor((event.clientY - box.top - TOP) / this.pitch) * this.across + across;
      return across >= 0 && across < this.across && this.isCell(cell) ? cell : null;
    }

    boxOf(cell) {
      const box = this.canvas.getBoundingClientRect(), [x, y] = this.corner(cell);
      return new DOMRect(box.left + x, box.top + y, this.pitch, this.pitch);
    }

    textOf(cell) {
      const [first, last] = this.runsOf(cell);
      if (first === last) return describe(first).filter(Boolean).join("\n");
      const counts = [...this.counts.subarray(cell * NAMES.length, (cell + 1) * NAMES.length)];
      const told = counts.map((each, code) => each && `${number(each)} ${WORDS[code]}`).filter(Boolean);
      return `${capital(span(first, last))}\n${told.join(", ")}`;
    }

    hover(event) {
      const cell = this.cellAt(event);
      if (cell === null) hideTip();
      else showTip(this.textOf(cell), this.boxOf(cell));
    }

    leave() {
      hideTip();
      if (document.activeElement !== this.element && this.cursor !== null) { this.cursor = null; this.draw(); }
    }

    move(cell) {
      this.cursor = Math.min(Math.max(cell, this.cellOf(this.first)), this.cellOf(this.last));
      this.draw();
      const box = this.boxOf(this.cursor);
      if (box.top < 0 || box.bottom > innerHeight) scrollBy({ top: box.top - innerHeight / 2, behavior: "instant" });
      showTip(this.textOf(this.cursor), this.boxOf(this.cursor));
      said.textContent = tip.textContent;
    }

    key(event) {
      const steps = {
        ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.across, ArrowDown: this.across,
        PageUp: -5 * this.across, PageDown: 5 * this.across, Home: -Infinity, End: Infinity,
      };
      if (event.key in steps) this.move((this.cursor ?? 0) + steps[event.key]);
      else if ((event.key === "Enter" || event.key === " ") && this.cursor !== null) this.choose(...this.runsOf(this.cursor), true);
      else if (event.key === "Escape") this.onEscape?.();
      else return;
      event.preventDefault();
    }
  }

  const answer = find("answer"), closer = find("closer");
  function tell(run) {
    const [first, more] = describe(run);
    const strong = document.createElement("b"), rest = document.createElement("span");
    [strong.textContent, rest.textContent, rest.className] = [first, more, "more"];
    answer.replaceChildren(strong, rest);
  }

  /** Show these runs one by one; of a few, their neighbours too. */
  function openCloser(first, last) {
    if (last - first + 1 < FEWEST) {
      first = Math.max(lowest, Math.floor(first / FEWEST) * FEWEST);
      last = Math.min(highest, first + FEWEST - 1);
    }
    closer.hidden = false;
    find("closer-title").textContent = capital(span(first, last));
    near.show(first, last, last - first < MOST ? 1 : Infinity);
  }
  function closeCloser() {
    if (closer.hidden) return;
    closer.hidden = true;
    find("map").focus();
  }

  const map = new RunMap(find("map"), (first, last, byKey) => {
    if (first === last) { tell(first); return; }
    openCloser(first, last);
    if (byKey) find("near").focus();
  });
  const near = new RunMap(find("near"), (first, last) => {
    if (first === last) tell(first);
    else openCloser(first, last);
  });
  near.onEscape = closeCloser;
  map.onEscape = closeCloser;
  map.onLayout = ({ block }) => {
    find("map-scale").textContent = block === 1 ? "One cell is one run." : `One cell is ${number(block)} runs.`;
  };
  if (known) map.show(lowest, highest);
  else { find("map").remove(); find("map-help").remove(); answer.textContent = "No run is known yet."; }

  // ---- search, filter, legend --------------------------------------------------------------------------------------

  const asked = find("run");
  function search() {
    const text = asked.value.replace(/\s/g, "");
    map.markedRun = near.markedRun = null;
    if (/^\d{1,15}$/.test(text)) {
      const run = Number(text);
      tell(run);
      if (known && run >= lowest && run <= highest) {
        map.markedRun = near.markedRun = run;
        if (map.block > 1) openCloser(...map.runsOf(map.cellOf(run)));
      }
    } else if (text) answer.textContent = `\u201c${asked.value}\u201d is not a run number.`;
    else { answer.textContent = ""; closer.hidden = true; }
    if (known) map.draw();
  }
  asked.addEventListener("input", search);
  find("search").addEventListener("submit", (event) => { event.preventDefault(); search(); });

  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const state = Number(button.dataset.state);
      only = only === state ? null : state;
      for (const each of document.querySelectorAll(".legend button")) {
        each.setAttribute("aria-pressed", String(Number(each.dataset.state) === only));
      }
      map.draw();
      near.draw();
    });
  }

  const words = find("words");
  if (words) {
    const rows = [...document.querySelectorAll("#failures tbody tr")].map((row) => ({
      row,
      text: row.textContent.toLowerCase(),
      runs: row.dataset.runs.split(",").map((part) => part.split("-").map(Number)),
    }));
    const counted = find("filtered").textContent;
    const has = ({ text, runs }, word) =>
      text.includes(word) || (/^\d+$/.test(word) && runs.some(([low, high = low]) => low <= Number(word) && Number(word) <= high));
    words.addEventListener("input", () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const each of rows) {
        each.row.hidden = !wanted.every((word) => has(each, word));
        left += !each.row.hidden;
      }
      find("filtered").textContent = wanted.length ? `${left} of ${plural(rows.length, "reason")}` : counted;
      find("none-left").hidden = left > 0;
    });
    find("filter").addEventListener("submit", (event) => event.preventDefault());
  }

  // ---- the days ----------------------------------------------------------------------------------------------------

  const plot = find("plot"), bars = [...plot.querySelectorAll(".bar")];
  let here = -1;
  function showBar(index, byKey) {
    bars[here]?.classList.remove("here");
    here = Math.min(Math.max(index, 0), bars.length - 1);
    if (byKey) { bars[here].classList.add("here"); said.textContent = bars[here].dataset.text; }
    showTip(bars[here].dataset.text, bars[here].querySelector(".reach").getBoundingClientRect());
  }
  const leaveBar = () => { bars[here]?.classList.remove("here"); hideTip(); };
  for (const [index, bar] of bars.entries()) bar.addEventListener("pointerenter", () => showBar(index, false));
  plot.addEventListener("pointerleave", leaveBar);
  plot.addEventListener("blur", leaveBar);
  plot.addEventListener("focus", () => { if (plot.matches(":focus-visible")) showBar(bars.length - 1, true); });
  plot.addEventListener("keydown", (event) => {
    const target = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: bars.length - 1 }[event.key];
    if (target === undefined) return;
    showBar(target, true);
    event.preventDefault();
  });

  // ---- how old this is ---------------------------------------------------------------------------------------------

  const written = document.querySelector("#written time"), born = Date.parse(written.dateTime);
  function ago(minutes) {
    if (minutes < 1) return "just now";
    if (minutes < 90) return `${plural(Math.round(minutes), "minute")} ago`;
    return minutes < 2880 ? `${plural(Math.round(minutes / 60), "hour")} ago` : `${plural(Math.round(minutes / 1440), "day")} ago`;
  }
  function grow() {
    const minutes = (Date.now() - born) / 60000;
    find("written").dataset.age = ago(minutes);
    const old = minutes > OLD_AFTER_MINUTES;
    find("stale").hidden = !old;
    find("verdict").classList.toggle("old", old);
    if (old) find("stale").textContent = `This page was written ${ago(minutes)}. Does the archiver still run? Load it again.`;
  }
  grow();
  setInterval(grow, 30000);
  // A screen on the wall: status.html#screen loads itself again.
  if (location.hash === "#screen") setTimeout(() => location.reload(), RELOAD_MINUTES * 60000);

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { map.draw(); near.draw(); });
})();
