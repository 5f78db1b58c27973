// Gives what is wrong with the page's structure for those who do not see it.
const wrong = [], all = (selector) => [...document.querySelectorAll(selector)];
if (!document.documentElement.lang) wrong.push("no language");
if (all("h1").length !== 1 || all("main").length !== 1) wrong.push("one h1, one main");
const ids = all("[id]").map((each) => each.id);
if (new Set(ids).size !== ids.length) wrong.push("an id twice");
for (const each of all("input")) if (!each.labels.length) wrong.push(`no label: ${each.id}`);
for (const each of all("[role='application'], [role='region'], section")) {
  if (!each.getAttribute("aria-label") && !each.getAttribute("aria-labelledby")) wrong.push(`no name: ${each.id || each.className}`);
}
for (const name of ["aria-labelledby", "aria-describedby", "aria-controls"]) {
  for (const each of all(`[${name}]`)) for (const id of each.getAttribute(name).split(" ")) {
    if (!document.getElementById(id)) wrong.push(`${name} ${id} leads nowhere`);
  }
}
for (const each of all("th")) if (!each.scope) wrong.push(`no scope: ${each.textContent}`);
let level = 0;
for (const each of all("h1, h2, h3")) {
  const own = Number(each.tagName[1]);
  if (own > level + 1) wrong.push(`skips a level: ${each.textContent}`);
  level = own;
}
return wrong;
