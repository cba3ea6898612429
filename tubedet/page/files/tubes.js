// From boxes to segments, and from key frames to boxes between them.

/**
 * Runs of a tube's boxes with one label, by their beginning: {tube, label, from, to, boxes, score}
 * with the indices of the first and last frame and the mean score. Boxes without a tube make a run
 * where they follow each other with one label.
 */
function segmentsOf(data) {
  const segments = [];
  const open = new Map();
  let looked = 0; // how many frames were looked at so far
  for (let i = 0; i < data.count; i++) {
    looked += data.looked[i];
    for (const box of data.rows[i]) {
      const key = box.tube === null ? `label ${box.label}` : box.tube;
      const current = open.get(key);
      const goesOn = current && current.label === box.label &&
        (box.tube !== null || looked - current.looked <= 1);
      if (goesOn) {
        Object.assign(current, {to: i, looked, sum: current.sum + box.score});
        current.boxes++;
      } else {
        const begun = {tube: box.tube, label: box.label, from: i, to: i, boxes: 1, sum: box.score, looked};
        open.set(key, begun);
        segments.push(begun);
      }
    }
  }
  for (const segment of segments) segment.score = segment.sum / segment.boxes;
  return segments;
}

/** Indices of the frames in which a tube has a box. */
function framesOfTube(data, tube) {
  const frames = [];
  for (let i = 0; i < data.count; i++) {
    if (data.rows[i].some((box) => box.tube === tube)) frames.push(i);
  }
  return frames;
}

function nextTube(data) {
  let highest = -1;
  for (const boxes of data.rows) for (const box of boxes) if (box.tube > highest) highest = box.tube;
  return highest + 1;
}

/**
 * A change with frame i's box of a tube as a key frame, and what follows for the frames between it
 * and the tube's nearest boxes that are not interpolated: their boxes move evenly from one to the
 * other. Frames without a box get one only if `fill`.
 */
function withKeyFrame(data, i, key, fill) {
  const change = new Map();
  change.set(i, replaced(data.rows[i], key));
  if (key.tube === null) return change;
  for (const step of [-1, 1]) {
    const between = [];
    for (let j = i + step; j >= 0 && j < data.count; j += step) {
      const box = data.rows[j].find((each) => each.tube === key.tube);
      if (box && box.kind !== 2) {
        for (const k of between) {
          const old = data.rows[k].find((each) => each.tube === key.tube);
          if (old || fill) {
            const part = (data.times[k] - data.times[i]) / (data.times[j] - data.times[i]);
            const made = mixed(key, box, part, old ? old.id : data.nextId++);
            change.set(k, replaced(data.rows[k], made));
          }
        }
        break;
      }
      if (data.looked[j] || box) between.push(j);
    }
  }
  return change;
}

/** The boxes with one in the place of that of its id, or behind the others. */
function replaced(boxes, box) {
  const has = boxes.some((each) => each.id === box.id);
  return has ? boxes.map((each) => (each.id === box.id ? box : each)) : [...boxes, box];
}

function mixed(one, other, part, id) {
  const edge = (name) => rounded(one[name] + part * (other[name] - one[name]));
  return {
    ...one, id, x1: edge("x1"), y1: edge("y1"), x2: edge("x2"), y2: edge("y2"),
    score: 1, kind: 2, touched: true,
  };
}

/** As precisely as rows have it. */
function rounded(pixels) {
  return Math.round(pixels * 100) / 100;
}

/** The box inside the frame, at least a pixel wide and high. */
function insideFrame(box, width, height) {
  const x1 = rounded(Math.min(Math.max(box.x1, 0), width - 1));
  const y1 = rounded(Math.min(Math.max(box.y1, 0), height - 1));
  return {
    ...box, x1, y1,
    x2: rounded(Math.max(Math.min(box.x2, width), x1 + 1)),
    y2: rounded(Math.max(Math.min(box.y2, height), y1 + 1)),
  };
}
