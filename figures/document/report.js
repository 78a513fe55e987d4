"use strict";
(() => {
  // What A4 leaves between its margins of 15 mm, in CSS pixels: plots are redrawn to it.
  const PRINTED = Math.floor((180 / 25.4) * 96);
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
    place.style.height = "auto";
    return Plotly.newPlot(place, content.data, content.layout, {
      displaylogo: false, responsive: false, showSendToCloud: false, scrollZoom: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
  }

  function resize(width) {
    for (const place of document.querySelectorAll(".js-plotly-plot")) {
      const wanted = width || place.clientWidth;
      if (Math.abs(place.layout.width - wanted) > 1) Plotly.relayout(place, { width: wanted });
    }
  }

  function fit() {
    for (const place of document.querySelectorAll(".js-plotly-plot")) place.style.width = "";
    resize(0);
  }

  async function start() {
    await library();
    await Promise.all([...document.querySelectorAll("figure")].map(draw));
    addEventListener("beforeprint", () => resize(PRINTED));
    addEventListener("afterprint", fit);
    matchMedia("print").addEventListener("change", (change) => {
      if (change.matches) resize(PRINTED); else fit();
    });
    let waiting = 0;
    addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(fit, 150); });
    document.documentElement.dataset.ready = "yes";
  }

  for (const link of document.querySelectorAll("a[data-file]")) {
    const content = document.getElementById(link.dataset.file).textContent;
    link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  }
  start().catch(failed);
})();
