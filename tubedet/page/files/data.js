// What the page was given: frames with their times and boxes, the labels, the run.

/** The JSON in a script element. */
function readJson(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/**
 * Everything the page knows, frames by their position in it ("index"), not by their number.
 *
 * rows[i] are the boxes of frame i, never changed in place: a change puts another array there.
 * kind: 0 found by the detector, 1 drawn or moved by a person (a key frame), 2 interpolated.
 */
function readData() {
  const summary = readJson("summary");
  const metaText = document.getElementById("meta").textContent;
  const lines = readJson("frames");
  const count = lines.length;
  const data = {
    summary,
    metaText,
    meta: JSON.parse(metaText),
    count,
    numbers: new Int32Array(count),
    times: new Float64Array(count), // seconds from the video's first frame
    pts: new Array(count),
    looked: new Uint8Array(count),
    rows: new Array(count),
    nextId: 0,
  };
  lines.forEach(([number, timeUs, pts, flat], i) => {
    data.numbers[i] = number;
    data.times[i] = timeUs / 1e6;
    data.pts[i] = pts;
    data.looked[i] = flat === null ? 0 : 1;
    data.rows[i] = flat === null ? NO_BOXES : boxesOf(flat, summary.labels, data);
  });
  data.original = data.rows.slice();
  data.reviewed = new Uint8Array(count);
  return data;
}

const NO_BOXES = Object.freeze([]);

function boxesOf(flat, labels, data) {
  const boxes = [];
  for (let at = 0; at < flat.length; at += 7) {
    boxes.push({
      id: data.nextId++,
      tube: flat[at] < 0 ? null : flat[at],
      label: labels[flat[at + 1]],
      score: flat[at + 2] / 1e4,
      x1: flat[at + 3] / 100,
      y1: flat[at + 4] / 100,
      x2: flat[at + 5] / 100,
      y2: flat[at + 6] / 100,
      kind: 0,
      touched: false,
    });
  }
  return boxes.length ? boxes : NO_BOXES;
}

/** The last index whose value is at most `value`, in rising `values`; 0 if there is none. */
function lastAtMost(values, value) {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (values[middle] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The index whose value is nearest. */
function nearest(values, value) {
  const below = lastAtMost(values, value);
  const above = Math.min(below + 1, values.length - 1);
  return values[above] - value < value - values[below] ? above : below;
}

/** Every label there is: those found or given first, then those the detector knows. */
function allLabels(data) {
  const found = new Set(data.summary.labels);
  for (const i of changedFrames(data)) for (const box of data.rows[i]) found.add(box.label);
  return [...new Set([...found, ...data.meta.class_names])];
}

/** A colour for each label, as CSS has it. */
function labelColours(labels) {
  const colours = new Map();
  labels.forEach((label, i) => {
    const hue = Math.round((i * 137.508 + 145) % 360); // the golden angle: neighbours lie far apart
    const lightness = [58, 70, 46][i % 3];
    colours.set(label, `hsl(${hue} 85% ${lightness}%)`);
  });
  return colours;
}

/** Seconds as people read them: 0:05.2, or 1:02:05.2. */
function clock(seconds, digits = 2) {
  const whole = Math.max(0, seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
