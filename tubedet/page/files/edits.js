// Changes that can be undone, and unsaved work that survives a reload.

/** Indices of the frames whose boxes are not as they were found. */
function changedFrames(data) {
  const frames = [];
  for (let i = 0; i < data.count; i++) if (data.rows[i] !== data.original[i]) frames.push(i);
  return frames;
}

/**
 * What a person has done so far.
 *
 * change(name, boxes, reviewed) takes maps from a frame's index to its new boxes, and to whether it
 * is reviewed; `afterwards` is called with a name for people after every change, undo and redo.
 */
function makeHistory(data, afterwards) {
  let done = [];
  let undone = [];

  function put({boxes, reviewed}) {
    for (const [i, list] of boxes) data.rows[i] = list;
    for (const [i, value] of reviewed) data.reviewed[i] = value;
  }

  function change(name, boxes = new Map(), reviewed = new Map()) {
    const after = {boxes, reviewed};
    const before = {
      boxes: new Map([...boxes.keys()].map((i) => [i, data.rows[i]])),
      reviewed: new Map([...reviewed.keys()].map((i) => [i, data.reviewed[i]])),
    };
    done.push({name, before, after});
    undone = [];
    put(after);
    afterwards(name);
  }

  function move(from, to, which, word) {
    const step = from.pop();
    if (!step) return;
    to.push(step);
    put(step[which]);
    afterwards(`${word}: ${step.name}`);
  }

  return {
    change,
    undo: () => move(done, undone, "before", "undone"),
    redo: () => move(undone, done, "after", "done again"),
    canUndo: () => done.length > 0,
    canRedo: () => undone.length > 0,
    forget: () => { done = []; undone = []; },
  };
}

/** Under which name a browser keeps the work on this video: the source's identity. */
function storageKey(data) {
  const {video, source} = data.meta;
  return `tubedet ${JSON.stringify([video, source.bytes, source.modified_ns])}`;
}

/** Keep all that differs from what was found, and whether files have it; true if there was room. */
function keepWork(data, saved = false) {
  const frames = changedFrames(data).map((i) => [data.numbers[i], data.rows[i]]);
  const reviewed = reviewedNumbers(data);
  try {
    if (frames.length || reviewed.length) {
      localStorage.setItem(storageKey(data), JSON.stringify({frames, reviewed, saved}));
    } else {
      localStorage.removeItem(storageKey(data));
    }
    return true;
  } catch { // full, or switched off
    return false;
  }
}

/** Bring back what was kept, and return it; null if there was nothing. */
function bringBackWork(data) {
  let kept = null;
  try {
    kept = JSON.parse(localStorage.getItem(storageKey(data)));
  } catch { // switched off, or not ours
    return null;
  }
  if (!kept) return null;
  const indices = new Map(Array.from(data.numbers, (number, i) => [number, i]));
  for (const [number, boxes] of kept.frames) {
    const i = indices.get(number);
    if (i !== undefined) data.rows[i] = boxes.map((box) => ({...box, id: data.nextId++}));
  }
  for (const number of kept.reviewed) {
    const i = indices.get(number);
    if (i !== undefined) data.reviewed[i] = 1;
  }
  return kept;
}

/** Numbers of the frames that a person has reviewed. */
function reviewedNumbers(data) {
  return Array.from(data.numbers).filter((_, i) => data.reviewed[i]);
}
