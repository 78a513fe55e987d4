"use strict";
(() => {
  // What A4 leaves between its margins of 15 mm, in CSS pixels: plots are redrawn to it.
  const PRINTED = Math.floor((180 / 25.4) * 96);
  const SHRUNK = 0.84; // of their height, so that two plots of 20 layers fit a page
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

  function resize(printed) {
    for (const place of document.querySelectorAll(".js-plotly-plot")) {
      const height = Number(place.dataset.height);
      const size = printed
        ? { width: PRINTED, height: Math.round(SHRUNK * height) }
        : { width: place.clientWidth, height };
      if (place.layout.width !== size.width || place.layout.height !== size.height) {
        Plotly.relayout(place, size);
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
