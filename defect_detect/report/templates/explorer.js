// Looks counts up in the embedded sweeps and writes them into the page. Loads nothing, sends nothing, keeps nothing.
(() => {
  "use strict";
  const root = document.getElementById("explore");
  const data = JSON.parse(document.getElementById("sweeps").textContent);
  const find = (selector) => root.querySelector(selector);
  const all = (selector) => Array.from(root.querySelectorAll(selector));
  const budget = find("#budget");
  const SPACE = "\u00a0";
  const SILENT = "no prediction at any score";

  // As Python formats: exact halves go to the even digit.
  const fixed = (value, digits) => {
    const scale = 10 ** digits;
    const grain = 2 ** (digits + 1);
    const half = Math.abs((value * scale) % 1) === 0.5 && (value * grain) % 1 === 0;
    return (half ? (2 * Math.round((value * scale) / 2)) / scale : value).toFixed(digits);
  };
  const whole = (value) => value.toLocaleString("en-US");
  const short = (value) => String(Number(value.toPrecision(3)));

  const figures = {
    fn: (count, of) => fixed(100 * (count / of), 1) + SPACE + "%",
    fppi: (count, of) => fixed(count / of, 3),
    escape: (count, of) => fixed(100 * (count / of), 1) + SPACE + "%",
    overkill: (count, of) => fixed(100 * (count / of), 1) + SPACE + "%",
  };

  // What no threshold lets through: every defect missed, every defective unit escaped, no alarm.
  const silent = (detector, name) => (name === "fn" || name === "escape" ? detector[name].of : 0);
  const countAt = (detector, name, at) => (at < 0 ? silent(detector, name) : detector[name].count[at]);

  // The lowest of the detector's thresholds that keeps the budget on validation; -1: none does; null: not known.
  // Thresholds by class were chosen within budgets: then it is the widest of these.
  const within = (detector, limit) => {
    if (!detector.fn || !detector.validation) return null;
    let found = -1;
    (detector.limit || detector.validation).forEach((fppi, at) => { if (fppi <= limit) found = at; });
    return found;
  };

  // "crack 0.412, pit silent"; of several seeds the lowest and the highest.
  const byClass = (detector, at) => detector.classes.map(({ name, seeds }) => {
    const scores = seeds.map((steps) => steps[at]);
    const said = scores.filter((score) => score !== null).sort((a, b) => a - b).map((score) => fixed(score, 3));
    if (!said.length) return `${name} silent`;
    const low = said[0];
    const high = said.length < scores.length ? "silent" : said[said.length - 1];
    return `${name} ${low === high ? low : `${low} to ${high}`}`;
  }).join(", ");

  const across = (fppi) => {
    const power = fppi > 0 ? Math.log2(fppi) : data.first;
    return (100 * (Math.min(Math.max(power, data.first), data.highest) - data.first)) / (data.highest - data.first);
  };

  const spoken = (detector, at) => {
    if (at < 0) return "no threshold, nothing counts";
    if (detector.limit) return `at most ${short(detector.limit[at])} false alarms per image on validation`;
    return `score at least ${fixed(detector.threshold[at], 3)}`;
  };

  const show = (place, at, why) => {
    const detector = data.detectors[place];
    const row = find(`[data-row="${place}"]`);
    const known = at !== null;
    for (const name of Object.keys(figures)) {
      const cell = row.querySelector(`[data-figure="${name}"]`);
      const of = known ? detector[name].of : 0;
      const count = known && of ? countAt(detector, name, at) : null;
      cell.querySelector("b").textContent = count === null ? "n/a" : figures[name](count, of);
      cell.querySelector("small").textContent = count !== null ? `${whole(count)}/${whole(of)}` : known ? cell.dataset.none : why;
      cell.classList.toggle("unknown", count === null);
      const bar = count === null ? null : cell.querySelector("rect.now");
      if (bar) bar.setAttribute("width", `${(100 * count) / of}%`);
    }
    const chosen = detector.classes ? "by class" : at >= 0 && known ? fixed(detector.threshold[at], 3) : "";
    const score = known && at >= 0 ? chosen : known ? "none" : "n/a";
    row.querySelector("output").textContent = score;
    const classes = row.querySelector(".classes");
    if (classes) classes.textContent = known && at >= 0 && detector.classes ? byClass(detector, at) : "";
    row.dataset.threshold = known && at >= 0 ? String(detector.threshold[at]) : score;
    row.querySelector(".why").textContent = known && at < 0 ? why : "";
    const dial = row.querySelector("input");
    if (dial && known) {
      dial.value = String(at < 0 ? detector.threshold.length : detector.threshold.length - 1 - at);
      dial.setAttribute("aria-valuetext", spoken(detector, at));
    }
    const mark = find(`[data-mark="${place}"]`);
    if (mark) {
      mark.style.display = known ? "" : "none";
      if (known) {
        mark.setAttribute("x", `${across(countAt(detector, "fppi", at) / detector.fppi.of)}%`);
        mark.setAttribute("y", `${(100 * countAt(detector, "fn", at)) / detector.fn.of}%`);
      }
    }
  };

  const frozen = () => {
    for (const row of all("[data-row]")) row.replaceWith(kept[Number(row.dataset.row)].cloneNode(true));
    for (const mark of all("[data-mark]")) mark.style.display = "none";
    listen();
    say("The thresholds that were frozen for the verdict.");
  };
  const byBudget = () => {
    const limit = data.budgets[Number(budget.value)];
    data.detectors.forEach((detector, place) => {
      const at = within(detector, limit);
      const unknown = detector.fn ? "no predictions on validation" : "not swept over thresholds";
      const none = detector.threshold.length ? "unreachable: even its highest score exceeds this budget" : SILENT;
      show(place, at, at === null ? unknown : none);
    });
    say(`At most ${short(limit)} false alarms per image on validation.`);
  };
  const byScore = () => {
    data.detectors.forEach((detector, place) => {
      const dial = find(`#score-${place}`);
      if (!dial) return detector.fn ? show(place, -1, SILENT) : show(place, null, "not swept over thresholds");
      const at = detector.threshold.length - 1 - Number(dial.value);
      const none = detector.limit ? "under its least budget: nothing counts" : "above its highest score: nothing counts";
      return show(place, at, none);
    });
    const dials = data.detectors.map((detector, place) => [detector, find(`#score-${place}`)]);
    const told = dials.filter(([detector, dial]) => detector.limit && dial);
    const said = told.map(([detector, dial]) => `${detector.name}: ${dial.getAttribute("aria-valuetext")}`);
    say(said.length ? `${said.join("; ")}.` : "A score of its own for each detector.");
  };

  const views = { frozen, budget: byBudget, score: byScore };
  const say = (text) => { find("#setting").textContent = text; };
  const write = () => {
    if (!budget) return;
    const text = short(data.budgets[Number(budget.value)]);
    find("#budget-value").textContent = text;
    budget.setAttribute("aria-valuetext", `${text} false alarms per image on validation`);
  };
  const choose = (name) => {
    find(`[name="setting"][value="${name}"]`).checked = true;
    root.dataset.setting = name;
    views[name]();
  };
  const listen = () => {
    for (const dial of all("[data-row] input")) dial.addEventListener("input", () => choose("score"));
  };

  // Dials begin where the frozen threshold lies, or at the nearest one above it.
  data.detectors.forEach((detector, place) => {
    const dial = find(`#score-${place}`);
    if (!dial) return;
    const start = Number(dial.dataset.start);
    const last = detector.limit
      ? detector.validation.filter((fppi) => fppi <= Number(dial.dataset.fppi)).length - 1
      : detector.threshold.filter((score) => score >= start).length - 1;
    dial.value = String(dial.dataset.start === "" ? detector.threshold.length : detector.threshold.length - 1 - last);
    dial.setAttribute("value", dial.value);
    dial.setAttribute("aria-valuetext", spoken(detector, last));
  });
  for (const part of all("[data-live]")) part.hidden = false;
  for (const part of all("[data-still]")) part.hidden = true;
  const kept = all("[data-row]").map((row) => row.cloneNode(true));
  if (budget) budget.addEventListener("input", () => { write(); choose("budget"); });
  for (const radio of all('[name="setting"]')) radio.addEventListener("change", () => choose(radio.value));
  write();
  listen();
  choose("frozen");
})();
