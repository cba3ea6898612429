// Boxes over the picture: drawn, picked, moved, resized and drawn anew.

const HANDLE = 9; // CSS pixels
const LEAST = 4; // CSS pixels: a shorter drag is a click

/** Fit the canvas to its place on the screen; its pixels for each of the video's. */
function fitCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const wide = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const high = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, {width: wide, height: high});
  return {ratio, x: wide / width, y: high / height};
}

/**
 * Draw boxes, the last one on top.
 *
 * @param boxes what to draw: {box, colour, faint}
 * @param selected the box with handles, or null
 */
function drawBoxes(canvas, size, boxes, selected) {
  const scale = fitCanvas(canvas, size.width, size.height);
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const {box, colour, faint} of boxes) {
    pen.globalAlpha = faint ? 0.45 : 1;
    drawBox(pen, box, colour, scale, canvas);
  }
  pen.globalAlpha = 1;
  if (selected) drawHandles(pen, selected, scale);
}

function onCanvas(box, scale) {
  return [box.x1 * scale.x, box.y1 * scale.y, (box.x2 - box.x1) * scale.x, (box.y2 - box.y1) * scale.y];
}

function drawBox(pen, box, colour, scale, canvas) {
  const [x, y, width, height] = onCanvas(box, scale);
  const line = 2 * scale.ratio;
  pen.setLineDash([]);
  pen.strokeStyle = "rgb(0 0 0 / 0.55)";
  pen.lineWidth = 2 * line;
  pen.strokeRect(x, y, width, height);
  pen.setLineDash(box.kind === 2 ? [3 * line, 2 * line] : []);
  pen.strokeStyle = colour;
  pen.lineWidth = line;
  pen.strokeRect(x, y, width, height);
  pen.setLineDash([]);
  drawTag(pen, box, colour, x, y, scale.ratio, canvas);
}

function drawTag(pen, box, colour, x, y, ratio, canvas) {
  const text = box.touched ? box.label : `${box.label} ${box.score.toFixed(2)}`;
  pen.font = `600 ${13 * ratio}px system-ui, "Segoe UI", "Noto Sans", sans-serif`;
  const width = Math.min(pen.measureText(text).width + 10 * ratio, canvas.width);
  const height = 20 * ratio;
  const left = Math.min(Math.max(x - ratio, 0), canvas.width - width);
  const top = y >= height ? y - height : y;
  pen.fillStyle = colour;
  pen.fillRect(left, top, width, height);
  pen.fillStyle = "#000";
  pen.textBaseline = "middle";
  pen.fillText(text, left + 5 * ratio, top + height / 2, width - 10 * ratio);
}

function handlesOf(box, scale) {
  const [x, y, width, height] = onCanvas(box, scale);
  const spots = [];
  for (const [across, names] of [[0, "x1"], [0.5, ""], [1, "x2"]]) {
    for (const [down, name] of [[0, "y1"], [0.5, ""], [1, "y2"]]) {
      if (names || name) spots.push({x: x + across * width, y: y + down * height, edges: [names, name].filter(Boolean)});
    }
  }
  return spots;
}

function drawHandles(pen, box, scale) {
  const [x, y, width, height] = onCanvas(box, scale);
  pen.strokeStyle = "#fff";
  pen.lineWidth = scale.ratio;
  pen.setLineDash([4 * scale.ratio, 4 * scale.ratio]);
  pen.strokeRect(x, y, width, height);
  pen.setLineDash([]);
  const side = 7 * scale.ratio;
  for (const spot of handlesOf(box, scale)) {
    pen.fillStyle = "#fff";
    pen.fillRect(spot.x - side / 2, spot.y - side / 2, side, side);
    pen.strokeStyle = "#000";
    pen.strokeRect(spot.x - side / 2, spot.y - side / 2, side, side);
  }
}

/**
 * Pointer on the boxes.
 *
 * @param view {size, boxes(): those that can be picked, selected(), isDrawing(), pick(box or null),
 *   preview(box or null), moved(box), drawn(box)}; boxes in the video's pixels
 */
function watchPointer(canvas, view) {
  let drag = null;

  function place(event) {
    const area = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - area.left) * view.size.width) / area.width,
      y: ((event.clientY - area.top) * view.size.height) / area.height,
      pixel: view.size.width / area.width,
    };
  }

  function handleAt({x, y, pixel}) {
    const box = view.selected();
    if (!box) return null;
    const near = (spot) => Math.abs(spot.x - x) <= HANDLE * pixel && Math.abs(spot.y - y) <= HANDLE * pixel;
    return handlesOf(box, {x: 1, y: 1}).find(near) || null;
  }

  function boxAt({x, y}) {
    const inside = view.boxes().filter((box) => x >= box.x1 && x <= box.x2 && y >= box.y1 && y <= box.y2);
    const area = (box) => (box.x2 - box.x1) * (box.y2 - box.y1);
    return inside.sort((one, other) => area(one) - area(other))[0] || null;
  }

  function dragged(at) {
    const [dx, dy] = [at.x - drag.from.x, at.y - drag.from.y];
    if (drag.edges === "new") {
      const [xs, ys] = [[drag.from.x, at.x], [drag.from.y, at.y]];
      return {x1: Math.min(...xs), x2: Math.max(...xs), y1: Math.min(...ys), y2: Math.max(...ys)};
    }
    const box = {...drag.box};
    if (drag.edges === "all") { // the whole box stays in the frame
      const right = Math.min(Math.max(dx, -box.x1), view.size.width - box.x2);
      const down = Math.min(Math.max(dy, -box.y1), view.size.height - box.y2);
      return {...box, x1: box.x1 + right, x2: box.x2 + right, y1: box.y1 + down, y2: box.y2 + down};
    }
    for (const edge of drag.edges) box[edge] += edge[0] === "x" ? dx : dy;
    return {
      ...box,
      x1: Math.min(box.x1, box.x2), x2: Math.max(box.x1, box.x2),
      y1: Math.min(box.y1, box.y2), y2: Math.max(box.y1, box.y2),
    };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const from = place(event);
    const handle = view.isDrawing() ? null : handleAt(from);
    if (view.isDrawing()) drag = {from, edges: "new"};
    else if (handle) drag = {from, edges: handle.edges, box: view.selected()};
    else {
      const box = boxAt(from);
      view.pick(box);
      drag = box && {from, edges: "all", box};
    }
    if (drag) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (!drag) {
      const handle = view.isDrawing() ? null : handleAt(at);
      canvas.style.cursor = view.isDrawing() ? "crosshair" : handle ? cursorOf(handle) : boxAt(at) ? "move" : "";
      return;
    }
    drag.far ||= Math.hypot(at.x - drag.from.x, at.y - drag.from.y) > LEAST * at.pixel;
    if (drag.far) view.preview(dragged(at));
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const box = drag.far ? dragged(place(event)) : null;
    const isNew = drag.edges === "new";
    drag = null;
    view.preview(null);
    if (box) (isNew ? view.drawn : view.moved)(box);
  });
  canvas.addEventListener("pointercancel", () => { drag = null; view.preview(null); });
}

function cursorOf({edges}) {
  if (edges.length === 1) return edges[0][0] === "x" ? "ew-resize" : "ns-resize";
  return ["x1 y1", "x2 y2"].includes(edges.join(" ")) ? "nwse-resize" : "nesw-resize";
}
