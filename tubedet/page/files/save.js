// Corrections as the files that `tubedet train` reads: rows as CSV, and their meta.

const COLUMNS = ["video", "frame", "pts", "time_s", "tube", "label", "score", "x1", "y1", "x2", "y2"];

function csvCell(value) {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** All rows, as tubedet writes them; score 1 where a person has a say in the box. */
function correctedCsv(data) {
  const lines = [COLUMNS.join(",")];
  for (let i = 0; i < data.count; i++) {
    for (const box of data.rows[i]) {
      const edges = [box.x1, box.y1, box.x2, box.y2].map((edge) => edge.toFixed(2));
      const cells = [
        data.summary.video, data.numbers[i], data.pts[i], data.times[i].toFixed(6), box.tube,
        box.label, box.score.toFixed(4), ...edges,
      ];
      lines.push(cells.map(csvCell).join(","));
    }
  }
  return lines.join("\n") + "\n";
}

/** The run's meta, as it was written, and the frames that a person has reviewed. */
function correctedMeta(data) {
  // As text: numbers of nanoseconds are too long for JavaScript's.
  const open = data.metaText.trimEnd().replace(/\s*\}$/, "");
  return `${open},\n  "reviewed_frames": ${JSON.stringify(reviewedNumbers(data))}\n}\n`;
}

function download(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** The page's name without what says what it is: as the video's results are called. */
function pageStem() {
  const name = decodeURIComponent(location.pathname.split("/").pop());
  return name.replace(/(\.partial(-\d+)?)?\.html?$/i, "");
}

function saveCorrections(data) {
  download(`${pageStem()}.corrected.csv`, correctedCsv(data), "text/csv");
  download(`${pageStem()}.corrected.meta.json`, correctedMeta(data), "application/json");
}
