"use strict";
(() => {
  // What A4 leaves between its margins of 15 mm, in CSS pixels: plots are redrawn to it.
  const PRINTED = Math.floor((180 / 25.4) * 96);
  // Tall plots lose a part of their height, so that two of 20 layers fit a page.
  const TALL = 420;
  const SHRUNK = 0.84;
  const failed = () => { document.getElementById("no-plots").style.display = "block"; };

  async function library() {
    const packed = atob(document.getElementById("plotly").textContent);
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  function draw(figure) {
    const place = figure.querySelector(".plot");
    const content = JSON.parse(figure.querySelector("script.figure").textContent);
    content.layout.width = place.clientWidth;
    place.dataset.height = content.layout.height;
    place.style.height = "auto";
    return Plotly.newPlot(place, content.data, content.layout, {
      displaylogo: false, responsive: false, showSendToCloud: false, scrollZoom: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
  }

  // A legend below the plot stands at a share of the plot's height: a fixed distance in pixels.
  function sized(place, width, height) {
    const { margin, legend } = place.layout;
    const change = { width, height };
    if (legend && legend.y < 0) {
      const before = place.layout.height - margin.t - margin.b;
      change["legend.y"] = (legend.y * before) / (height - margin.t - margin.b);
    }
    return change;
  }

  function resize(printed) {
    for (const place of document.querySelectorAll(".js-plotly-plot")) {
      const full = Number(place.dataset.height);
      const width = printed ? PRINTED : place.clientWidth;
      const height = printed && full > TALL ? Math.round(SHRUNK * full) : full;
      if (place.layout.width !== width || place.layout.height !== height) {
        Plotly.relayout(place, sized(place, width, height));
      }
    }
  }

  async function start() {
    await library();
    await Promise.all([...document.querySelectorAll("figure")].map(draw));
    addEventListener("beforeprint", () => resize(true));
    addEventListener("afterprint", () => resize(false));
    matchMedia("print").addEventListener("change", (change) => resize(change.matches));
    let waiting = 0;
    addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => resize(false), 150); });
    document.documentElement.dataset.ready = "yes";
  }

  for (const link of document.querySelectorAll("a[data-file]")) {
    const content = document.getElementById(link.dataset.file).textContent;
    link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  }
  start().catch(failed);
})();
