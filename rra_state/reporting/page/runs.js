// The data of every run, and their texts. render.py joins the script's files in one function.
const NAMES = ["archived", "waiting", "failed", "open", "gap", "lost"];
const WORDS = ["archived", "waiting", "failed", "still being written", "without a record", "lost"];
const [ARCHIVED, WAITING, FAILED, OPEN, GAP, LOST] = NAMES.keys();
const DRAWN = [LOST, FAILED, WAITING, OPEN, ARCHIVED];
const BLOCKS = [...Array(17).keys()].flatMap((power) => [1, 2, 5].map((each) => each * 10 ** power));
const TOP = 5;  // room above the first row for its label
const FEWEST = 50, MOST = 2000;  // a closer look shows at least FEWEST runs, and up to MOST one by one
const OLD_AFTER_MINUTES = 60, RELOAD_MINUTES = 2;

const find = (id) => document.getElementById(id);
const data = JSON.parse(find("data").textContent);
const number = (value) => String(value);
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
    const bounds = known ? `The runs here go from ${lowest} to ${highest}.` : "No run is known.";
    return [`Run ${run} is not known.`, bounds];
  }
  const [first, length, code] = segments[segment];
  if (code === GAP) {
    const others = length > 1 ? `Numbers ${first} to ${first + length - 1} are missing.` : "";
    return [`There is no record of run ${run}.`, others];
  }
  const { inArtdaqDB, inUconDB, size, configuration, verified } = facts(run, segment);
  const lines = [
    inArtdaqDB && `in artdaqDB since ${when(inArtdaqDB)}`,
    inUconDB && `in UconDB since ${when(inUconDB)}`,
    size && plural(size, "byte"),
    configuration && `configuration ${configuration}`,
    code === ARCHIVED && (verified ? "read back and compared" : "only seen in a listing, not read back"),
  ].filter(Boolean);
  const more = lines.length ? capital(lines.join(", ")) + "." : "";
  if (code === ARCHIVED) return [`Run ${run} is archived.`, more];
  if (code === LOST) return [`Run ${run} is lost: in neither store and not on disk.`, more];
  if (code === OPEN) return [`Run ${run} is still being written.`, more];
  const reason = data.reasons.find((each) => within(each.runs, run));
  if (code === FAILED) {
    const why = reason ? `${reason.kind} in the ${reason.stage}: ${reason.text.replaceAll("<run>", run)}` : "";
    const wrong = reason?.stage === "verify";
    const changed = `The record of run ${run} changed, and was not archived again.`;
    const what = wrong ? `Run ${run} is not as archived.` : inUconDB ? changed : `Run ${run} is not archived.`;
    return [what, [why, more].filter(Boolean).join(" \u2013 ")];
  }
  return [`Run ${run} waits for its ${inArtdaqDB ? "migration into UconDB" : "import into artdaqDB"}.`, more];
}

/** What changed in a run against the one before; empty if that is not known. */
function changesOf(run) {
  const found = data.changes[run];
  if (!found) return "";
  const title = found.lines.length ? "Changed against" : "No difference to";
  const more = found.more ? `and ${plural(found.more, "more line")}; --diff shows all` : "";
  return [`${title} run ${found.of[0]}`, ...found.lines, more].filter(Boolean).join("\n");
}
