"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colours = { onset: "--hurt", change: "--change", page: "--page", rollback: "--act" };
  const plots = [];

  for (const each of document.querySelectorAll("time")) {
    const when = new Date(each.dateTime);
    each.title = each.dateTime.replace("T", " ").replace("Z", " UTC");
    each.textContent = when.toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  }

  const marks = (chart) => (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    for (const mark of chart.marks) {
      const x = plot.valToPos(mark.at_s, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = style(colours[mark.kind]);
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.setLineDash(mark.kind === "change" ? [6, 4] : mark.kind === "page" ? [2, 3] : []);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };

  const draw = (box) => {
    const chart = charts[box.dataset.chart];
    const axis = { stroke: style("--soft"), grid: { stroke: style("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    box.replaceChildren();
    return new uPlot(
      {
        width: box.clientWidth, height: 150, legend: { show: false }, cursor: { drag: { setScale: false }, points: { show: false } },
        padding: [8, 4, 0, 0],
        scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.08, 1)] } },
        axes: [{ ...axis, space: 70, size: 26, values: (_, at) => at.map((s) => new Date(s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })) }, { ...axis, size: 44 }],
        series: [
          {},
          { stroke: "transparent", points: { show: false } },
          { stroke: "transparent", points: { show: false } },
          { stroke: style("--expected"), width: 1, dash: [4, 3], points: { show: false } },
          { stroke: style(chart.hurt ? "--hurt" : "--seen"), width: 1.75, points: { show: false } },
        ],
        bands: [{ series: [2, 1], fill: style("--band") }],
        hooks: { draw: [marks(chart)] },
      },
      [chart.at_s, chart.low, chart.high, chart.expected, chart.observed],
      box,
    );
  };

  const all = () => {
    while (plots.length) plots.pop().destroy();
    for (const box of document.querySelectorAll(".plot")) plots.push(draw(box));
  };
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(all, 100); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  all();
})();
