// Closer looks, search, legend, filter, days, age of the page. Texts go into the page as text only.
const answer = find("answer"), closer = find("closer");
function showRun(run) {
  const texts = [...describe(run), changesOf(run)].filter(Boolean);
  answer.replaceChildren(...texts.map((text, index) => {
    const part = document.createElement(index ? "span" : "b");
    [part.textContent, part.className] = [text, ["", "more", "more changes"][index]];
    return part;
  }));
}

/** Show these runs one by one; of a few, their neighbours too. */
function showCloser(first, last) {
  if (last - first + 1 < FEWEST) {
    first = Math.max(lowest, Math.floor(first / FEWEST) * FEWEST);
    last = Math.min(highest, first + FEWEST - 1);
  }
  closer.hidden = false;
  find("closer-title").textContent = capital(span(first, last));
  near.show(first, last, last - first < MOST ? 1 : Infinity);
}
function hideCloser() {
  if (closer.hidden) return;
  closer.hidden = true;
  find("map").focus();
}

const map = new RunMap(find("map"), (first, last, byKey) => {
  if (first === last) { showRun(first); return; }
  showCloser(first, last);
  if (byKey) find("near").focus();
});
const near = new RunMap(find("near"), (first, last) => {
  if (first === last) showRun(first);
  else showCloser(first, last);
});
near.onEscape = hideCloser;
map.onEscape = hideCloser;
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
    showRun(run);
    if (known && run >= lowest && run <= highest) {
      map.markedRun = near.markedRun = run;
      if (map.block > 1) showCloser(...map.runsOf(map.cellOf(run)));
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

// ---- age of the page ---------------------------------------------------------------------------------------------

const written = Date.parse(document.querySelector("#written time").dateTime);
function ago(minutes) {
  if (minutes < 1) return "just now";
  if (minutes < 90) return `${plural(Math.round(minutes), "minute")} ago`;
  return minutes < 2880 ? `${plural(Math.round(minutes / 60), "hour")} ago` : `${plural(Math.round(minutes / 1440), "day")} ago`;
}
function showAge() {
  const minutes = (Date.now() - written) / 60000;
  find("written").dataset.age = ago(minutes);
  const old = minutes > OLD_AFTER_MINUTES;
  find("stale").hidden = !old;
  find("verdict").classList.toggle("old", old);
  if (old) find("stale").textContent = `This page was written ${ago(minutes)}. Does the archiver still run? Load it again.`;
}
showAge();
setInterval(showAge, 30000);
// A screen on the wall: status.html#screen loads itself again.
if (location.hash === "#screen") setTimeout(() => location.reload(), RELOAD_MINUTES * 60000);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { map.draw(); near.draw(); });
