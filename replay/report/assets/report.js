"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const strokes = {
    onset: { colour: "--seen", dash: [] }, closed: { colour: "--soft", dash: [] }, change: { colour: "--change", dash: [6, 4] }, page: { colour: "--page", dash: [2, 3] }, rollback: { colour: "--act", dash: [] },
  };
  const plots = new Map();
  let zone = {};

  // Times: the reader's zone, or UTC; the other one where the pointer rests.
  const shown = (ms, options) => new Date(ms).toLocaleString([], { ...options, ...zone });
  const clock = (ms) => shown(ms, { hour: "2-digit", minute: "2-digit", hour12: false });
  const moment = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  const tellTimes = () => {
    document.getElementById("zone-name").textContent = `Times: ${zone.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone}`;
    for (const each of document.querySelectorAll("time")) {
      if (each.dataset.s) each.dateTime = new Date(1000 * Number(each.dataset.s)).toISOString();
      each.title = new Date(each.dateTime).toISOString().replace("T", " ").replace(".000", "").replace("Z", " UTC");
      each.textContent = shown(each.dateTime, moment) + (zone.timeZone ? " UTC" : "");
    }
  };

  const number = (value) => (value == null ? "unknown" : value.toLocaleString([], { maximumFractionDigits: value < 10 ? 1 : 0 }));

  // Curves come as columns of equal steps; a band is what is expected, give or take two standard deviations.
  const columns = (curve) => {
    const at = curve.observed.map((_, i) => curve.start_s + i * curve.step_s);
    const around = (sign) => curve.expected.map((mean, i) => (mean == null ? null : Math.max(mean + sign * 2 * curve.spread[i], 0)));
    return [at, around(-1), around(1), curve.expected, curve.observed];
  };

  const lineAt = (plot, at_s, { colour, dash }, top = 0) => {
    const { ctx, bbox } = plot;
    const x = Math.round(plot.valToPos(at_s, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) return null;
    ctx.strokeStyle = style(colour);
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.setLineDash(dash.map((each) => each * devicePixelRatio));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top - top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    return x;
  };

  // A label to each mark, one below the other, so that marks a minute apart can be told apart.
  const ROW = 15;
  const named = (chart) => {
    const first = new Map();
    for (const mark of [...chart.marks].sort((a, b) => a.at_s - b.at_s)) if (!first.has(mark.kind + mark.text)) first.set(mark.kind + mark.text, mark);
    return [...first.values()];
  };
  const marks = (chart, labels) => (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    for (const mark of chart.marks) lineAt(plot, mark.at_s, strokes[mark.kind]);
    labels.forEach((mark, row) => {
      const top = (labels.length - row) * ROW * devicePixelRatio;
      const x = lineAt(plot, mark.at_s, strokes[mark.kind], top);
      if (x == null) return;
      ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textBaseline = "top";
      ctx.fillStyle = style(strokes[mark.kind].colour);
      const text = `${mark.text}  ${clock(1000 * mark.at_s)}`;
      const left = x + ctx.measureText(text).width + 6 * devicePixelRatio > bbox.left + bbox.width;
      ctx.textAlign = left ? "right" : "left";
      ctx.fillText(text, x + (left ? -5 : 5) * devicePixelRatio, bbox.top - top);
    });
    ctx.restore();
  };

  // Under the curves of the whole case: what was learnt from, gaps, incidents and changes.
  const ground = (chart) => (plot) => {
    const { ctx, bbox } = plot;
    const at = (s) => Math.min(Math.max(plot.valToPos(s, "x", true), bbox.left), bbox.left + bbox.width);
    const box = (from, to, top, height, colour, least = 0) => {
      ctx.fillStyle = style(colour);
      ctx.fillRect(at(from), top, Math.max(at(to) - at(from), least * devicePixelRatio), height);
    };
    ctx.save();
    box(chart.start_s, chart.watching_s ?? chart.end_s, bbox.top, bbox.height, "--warm");
    ctx.globalAlpha = 0.28;
    for (const each of chart.incidents) if (each.metrics.includes(chart.metric)) box(each.from_s, each.to_s, bbox.top, bbox.height, "--hurt", 4);
    ctx.globalAlpha = 1;
    for (const each of chart.incidents) box(each.from_s, each.to_s, bbox.top, 5 * devicePixelRatio, "--hurt", 4);
    for (const each of chart.gaps) box(each.from_s, each.to_s, bbox.top + 8 * devicePixelRatio, 5 * devicePixelRatio, "--gap", 2);
    for (const each of chart.changes) box(each.at_s, each.at_s, bbox.top + bbox.height - 9 * devicePixelRatio, 9 * devicePixelRatio, "--change", 2);
    ctx.restore();
  };

  const options = (id, chart, box) => {
    const axis = { stroke: style("--soft"), grid: { stroke: style("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const long = (from, to) => to - from > 36 * 3600;
    const xs = {
      ...axis, space: 70, size: 26,
      values: (plot, at) => at.map((s) => (long(plot.scales.x.min, plot.scales.x.max) ? shown(1000 * s, { month: "short", day: "numeric", hour: "2-digit", hour12: false }) : clock(1000 * s))),
    };
    if (chart.kind === "case") xs.space = 120;
    return {
      width: box.clientWidth, height: box.clientHeight, legend: { show: false }, tzDate: (s) => (zone.timeZone ? uPlot.tzDate(new Date(1000 * s), "Etc/UTC") : new Date(1000 * s)),
      padding: [8, 24, 0, 0],
      cursor: { drag: { x: true, y: false }, points: { show: false }, sync: { key: id.split("/").slice(0, 2).join("/"), setSeries: false } },
      scales: { y: { range: (_, low, high) => [Math.min(low ?? 0, 0), Math.max((high ?? 1) * 1.08, 1)] } },
      axes: [xs, { ...axis, size: 52, values: (_, at) => at.map((value) => value.toLocaleString()) }],
    };
  };

  const plain = (extra) => ({ points: { show: false }, ...extra });
  const say = (box, text) => { const output = box.closest("figure").querySelector("output"); if (output) output.textContent = text; };
  const pointed = (box, told) => (plot) => { const at = plot.cursor.idx; say(box, at == null ? "" : `${shown(1000 * plot.data[0][at], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false })}  ${told(at)}`); };

  const draws = {
    curve: (id, chart, box) => {
      const labels = chart.kind === "whole" ? named(chart) : [];
      const data = columns(chart);
      const told = (at) => `${number(data[4][at])} counted, ${number(data[3][at])} expected (${number(data[1][at])} to ${number(data[2][at])})`;
      const base = options(id, chart, box);
      return new uPlot(
        {
          ...base, padding: [8 + labels.length * ROW, 24, 0, 0],
          series: [{}, plain({ stroke: "transparent" }), plain({ stroke: "transparent" }), plain({ stroke: style("--expected"), width: 1.25, dash: [4, 3] }), plain({ stroke: style(chart.hurt ? "--hurt" : "--seen"), width: 1.75 })],
          bands: [{ series: [2, 1], fill: style("--band") }],
          hooks: { draw: [marks(chart, labels)], setCursor: [pointed(box, told)] },
        },
        data, box,
      );
    },
    clock: (id, chart, box) => {
      const saved = chart.at_s.map((s, i) => (chart.effect_s == null || s < chart.effect_s ? null : chart.with_rollback));
      const data = [chart.at_s, chart.low, chart.high, saved, chart.lost];
      const told = (at) => `${number(chart.lost[at])} lost (${number(chart.low[at])} to ${number(chart.high[at])})${saved[at] == null ? "" : `, ${number(saved[at])} with the rollback`}`;
      const mark = chart.effect_s == null ? [] : [{ at_s: chart.effect_s, kind: "rollback", text: "rollback effective" }];
      return new uPlot(
        {
          ...options(id, chart, box), padding: [8 + mark.length * ROW, 24, 0, 0],
          series: [{}, plain({ stroke: "transparent" }), plain({ stroke: "transparent" }), plain({ stroke: style("--act"), width: 2 }), plain({ stroke: style("--hurt"), width: 2 })],
          bands: [{ series: [2, 1], fill: style("--band") }],
          hooks: { draw: [marks({ marks: mark }, mark)], setCursor: [pointed(box, told)] },
        },
        data, box,
      );
    },
    case: (id, chart, box) => {
      const [at, , , expected, observed] = columns({ ...chart, spread: chart.expected });
      const width = Math.max(Math.round(at.length / 250), 1);
      const told = (i) => `${number(observed[i])} counted, ${number(expected[i])} expected`;
      return new uPlot(
        {
          ...options(id, chart, box),
          series: [{}, plain({ stroke: style("--expected"), width: 1.25, dash: [4, 3] }), plain({ stroke: style("--seen"), width: 1.5 })],
          hooks: { drawClear: [ground(chart)], setCursor: [pointed(box, told)] },
        },
        [at, calm(expected, width), calm(observed, width)], box,
      );
    },
  };

  // A running mean: over days, the minutes' own noise would hide the course.
  const calm = (values, width) => values.map((value, i) => {
    if (value == null) return null;
    const near = values.slice(Math.max(i - width, 0), i + width + 1).filter((each) => each != null);
    return near.reduce((sum, each) => sum + each, 0) / near.length;
  });

  const draw = (box) => {
    const id = box.dataset.chart;
    const chart = charts[id];
    plots.get(box)?.destroy();
    box.replaceChildren();
    const plot = (draws[chart.kind] ?? draws.curve)(id, chart, box);
    plots.set(box, plot);
    box.plot = plot;
  };
  const all = () => { for (const box of plots.keys()) draw(box); };

  // The arrows walk along a chart for those who use no pointer.
  const walk = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity }[event.key];
    const plot = plots.get(event.currentTarget);
    if (step === undefined || !plot) return;
    event.preventDefault();
    const last = plot.data[0].length - 1;
    const at = Math.min(Math.max((plot.cursor.idx ?? (step > 0 ? -1 : last + 1)) + step, 0), last);
    plot.setCursor({ left: plot.valToPos(plot.data[0][at], "x"), top: 10 });
  };

  // A chart is drawn when it comes into sight: a page of many incidents opens at once.
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting && !plots.has(target)) { seen.unobserve(target); draw(target); }
  }, { rootMargin: "600px" });
  const boxes = [...document.querySelectorAll(".plot")];
  for (const box of boxes) { seen.observe(box); box.addEventListener("keydown", walk); }
  const drawRest = () => { for (const box of boxes) if (!plots.has(box)) draw(box); };

  // On a phone the charts by place come when they are asked for.
  if (innerWidth < 560) for (const each of document.querySelectorAll("details.parts")) each.open = false;

  // A list as text that a spreadsheet opens; without this script it is a compressed file.
  for (const link of document.querySelectorAll("a[download]")) {
    link.addEventListener("click", async (event) => {
      if (!window.DecompressionStream || link.dataset.ready) return;
      event.preventDefault();
      const packed = Uint8Array.from(atob(link.getAttribute("href").split(",")[1]), (sign) => sign.charCodeAt(0));
      const text = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).blob();
      const plainLink = document.createElement("a");
      plainLink.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      plainLink.download = link.download.replace(/\.gz$/, "");
      plainLink.click();
      setTimeout(() => URL.revokeObjectURL(plainLink.href), 10000);
    });
  }

  const toggle = document.getElementById("zone");
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    zone = zone.timeZone ? {} : { timeZone: "UTC" };
    toggle.setAttribute("aria-pressed", String(Boolean(zone.timeZone)));
    tellTimes();
    all();
  });

  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(all, 100); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  // On paper everything is open and dark on white.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const each of closed) each.open = true;
    document.documentElement.dataset.print = "";
    drawRest();
    all();
  });
  addEventListener("afterprint", () => {
    for (const each of closed) each.open = false;
    delete document.documentElement.dataset.print;
    all();
  });
  tellTimes();
})();
