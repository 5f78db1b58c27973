// Gives texts below WCAG AA (4.5, or 3 if large), and cells of the map below 3, against what is behind them.
const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const rgba = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const ground = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = rgba(getComputedStyle(each).backgroundColor);
    if (colour.length === 3 || colour[3] > 0.99) return colour;
  }
  return [255, 255, 255];
};
const faint = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !element.checkVisibility({ visibilityProperty: true }) || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
  const style = getComputedStyle(element), size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const found = ratio(rgba(style.color), ground(element));
  if (found < (large ? 3 : 4.5)) faint.push(`${element.tagName} ${element.textContent.trim().slice(0, 40)}: ${found.toFixed(2)}`);
}
const root = getComputedStyle(document.documentElement), pen = document.createElement("canvas").getContext("2d");
const parsed = (name) => { pen.fillStyle = root.getPropertyValue(name).trim(); return pen.fillStyle.match(/\w\w/g).map((each) => parseInt(each, 16)); };
for (const name of ["--archived", "--waiting", "--failed", "--open", "--gap"]) {
  const found = ratio(parsed(name), parsed("--paper"));
  if (found < 3) faint.push(`cells ${name}: ${found.toFixed(2)}`);
}
return faint;
