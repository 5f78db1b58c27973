// Tooltips, and the map of runs: a canvas that mouse, touch and keyboard can read.
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

  /** From the bottom up: lost, failed, waiting, open, archived. What is there at all is high enough to be seen. */
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
    const lines = counts.map((each, code) => each && `${number(each)} ${WORDS[code]}`).filter(Boolean);
    return `${capital(span(first, last))}\n${lines.join(", ")}`;
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
