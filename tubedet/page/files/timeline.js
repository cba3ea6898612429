// Actions and scores over time, on one axis that can be enlarged.

const LANE = 24; // CSS pixels, as in the style sheet
const STRIP = 20; // CSS pixels of the strip of reviewed frames
const MOST_LEVELS = 4; // of bars that overlap in a lane

/** The axis: which seconds are shown, and how they lie across `width` pixels. */
function makeAxis(data) {
  const end = data.count ? data.times[data.count - 1] + 1 / data.summary.fps : 1;
  const begin = data.count ? data.times[0] : 0;
  const least = Math.min(end - begin, 20 / data.summary.fps);
  const axis = {
    from: begin,
    to: end,
    x: (time, width) => ((time - axis.from) / (axis.to - axis.from)) * width,
    time: (x, width) => axis.from + (x / width) * (axis.to - axis.from),
    all() { axis.from = begin; axis.to = end; },
    isAll: () => axis.from === begin && axis.to === end,
    zoom(factor, around) {
      const length = Math.min(end - begin, Math.max(least, (axis.to - axis.from) * factor));
      const part = (around - axis.from) / (axis.to - axis.from);
      place(around - part * length, length);
    },
    /** Bring a time into what is shown; true if that changes. */
    follow(time) {
      if (time >= axis.from && time <= axis.to) return false;
      place(time - 0.1 * (axis.to - axis.from), axis.to - axis.from);
      return true;
    },
  };
  function place(from, length) {
    axis.from = Math.min(Math.max(from, begin), end - length);
    axis.to = axis.from + length;
  }
  return axis;
}

/** A bar for every segment that is shown, a row a label, and a strip of what is reviewed. */
function drawTimeline(canvas, data, axis, segments, labels, colours, selectedTube) {
  canvas.style.height = `${Math.max(1, labels.length) * LANE + STRIP}px`;
  const {ratio} = fitCanvas(canvas, 1, 1);
  const pen = canvas.getContext("2d");
  const {width, height} = canvas;
  const style = getComputedStyle(canvas);
  const lane = LANE * ratio;
  pen.fillStyle = style.getPropertyValue("--raised");
  pen.clearRect(0, 0, width, height);
  labels.forEach((_, row) => pen.fillRect(0, row * lane + 2 * ratio, width, lane - 4 * ratio));
  const rowOf = new Map(labels.map((label, row) => [label, row]));
  const levels = levelsOf(segments);
  for (const segment of segments) {
    const {left, right} = barOf(segment, data, axis, width, ratio);
    const row = rowOf.get(segment.label);
    if (row === undefined || right < 0 || left > width) continue;
    const room = (lane - 6 * ratio) / levels.count.get(segment.label);
    const top = row * lane + 3 * ratio + levels.of.get(segment) * room;
    const high = room - ratio;
    pen.fillStyle = colours.get(segment.label);
    pen.beginPath();
    pen.roundRect(left, top, right - left, high, 3 * ratio);
    pen.fill();
    if (segment.tube !== null && segment.tube === selectedTube) {
      pen.lineWidth = 2 * ratio;
      pen.strokeStyle = style.getPropertyValue("--ink");
      pen.stroke();
    }
  }
  drawReviewed(pen, data, axis, style, width, height, ratio);
}

/** On which level of its label's lane every segment lies, so that they do not hide each other. */
function levelsOf(segments) {
  const of = new Map();
  const count = new Map();
  const ends = new Map(); // per label, the last frame on every level
  for (const segment of segments) {
    const taken = ends.get(segment.label) || [];
    const free = taken.findIndex((end) => end < segment.from);
    const level = free >= 0 ? free : Math.min(taken.length, MOST_LEVELS - 1);
    taken[level] = Math.max(segment.to, taken[level] ?? -1);
    ends.set(segment.label, taken);
    of.set(segment, level);
    count.set(segment.label, taken.length);
  }
  return {of, count};
}

function barOf(segment, data, axis, width, ratio) {
  const left = axis.x(data.times[segment.from], width);
  const right = axis.x(timeBehind(data, segment.to), width);
  return {left, right: Math.max(right, left + 3 * ratio)};
}

function timeBehind(data, i) {
  return i + 1 < data.count ? data.times[i + 1] : data.times[i] + 1 / data.summary.fps;
}

function drawReviewed(pen, data, axis, style, width, height, ratio) {
  const high = 6 * ratio;
  const top = height - (STRIP * ratio + high) / 2;
  pen.fillStyle = style.getPropertyValue("--raised");
  pen.fillRect(0, top, width, high);
  pen.fillStyle = style.getPropertyValue("--good");
  let begin = -1;
  for (let i = 0; i <= data.count; i++) {
    const is = i < data.count && data.reviewed[i];
    if (is && begin < 0) begin = i;
    if (!is && begin >= 0) {
      const left = axis.x(data.times[begin], width);
      pen.fillRect(left, top, Math.max(ratio, axis.x(timeBehind(data, i - 1), width) - left), high);
      begin = -1;
    }
  }
}

/** The segment under a place on the timeline, in CSS pixels of its canvas; null if there is none. */
function segmentAt(canvas, data, axis, segments, labels, x, y) {
  const label = labels[Math.floor(y / LANE)];
  const under = segments.filter((segment) => {
    if (segment.label !== label) return false;
    const {left, right} = barOf(segment, data, axis, canvas.clientWidth, 1);
    return x >= left && x <= right;
  });
  const levels = levelsOf(segments);
  const level = Math.floor(((y % LANE) / LANE) * (levels.count.get(label) || 1));
  return under.findLast((segment) => levels.of.get(segment) === level) || under.at(-1) || null;
}

/** The best score of every label in every frame that is shown, as lines. */
function drawPlot(canvas, data, axis, labels, colours, minScore) {
  const {ratio} = fitCanvas(canvas, 1, 1);
  const pen = canvas.getContext("2d");
  const {width, height} = canvas;
  const style = getComputedStyle(canvas);
  const [top, room] = [8 * ratio, height - 12 * ratio];
  const yOf = (score) => top + (1 - score) * room;
  pen.clearRect(0, 0, width, height);
  pen.strokeStyle = style.getPropertyValue("--line");
  pen.lineWidth = ratio;
  for (const score of [0, 0.5, 1]) {
    pen.beginPath();
    pen.moveTo(0, yOf(score));
    pen.lineTo(width, yOf(score));
    pen.stroke();
  }
  if (minScore > 0) {
    pen.setLineDash([4 * ratio, 4 * ratio]);
    pen.strokeStyle = style.getPropertyValue("--soft");
    pen.beginPath();
    pen.moveTo(0, yOf(minScore));
    pen.lineTo(width, yOf(minScore));
    pen.stroke();
    pen.setLineDash([]);
  }
  pen.lineWidth = 1.5 * ratio;
  pen.lineJoin = "round";
  for (const label of labels) drawScores(pen, data, axis, label, colours.get(label), width, yOf);
}

function drawScores(pen, data, axis, label, colour, width, yOf) {
  const first = lastAtMost(data.times, axis.from);
  const last = Math.min(lastAtMost(data.times, axis.to) + 1, data.count - 1);
  pen.strokeStyle = colour;
  pen.beginPath();
  let joined = false;
  for (let i = first; i <= last; i++) {
    if (!data.looked[i]) continue;
    let best = -1;
    for (const box of data.rows[i]) if (box.label === label && box.score > best) best = box.score;
    if (best >= 0) {
      const [x, y] = [axis.x(data.times[i], width), yOf(best)];
      if (joined) pen.lineTo(x, y);
      else { pen.moveTo(x - 0.75, y); pen.lineTo(x + 0.75, y); }
    }
    joined = best >= 0;
  }
  pen.stroke();
}
