// Puts the parts together: what is selected and shown, the panels, buttons and keys.

const TUBES_SHOWN = 300;

function startPage() {
  const $ = (id) => document.getElementById(id);
  const data = readData();
  const size = {width: data.summary.width, height: data.summary.height};
  const view = {
    selected: null, // {tube, id}: of a box without a tube, its id alone
    preview: null,
    drawing: false,
    hidden: new Set(),
    minScore: 0,
    tubesShown: TUBES_SHOWN,
  };
  let labels = [];
  let colours = new Map();
  let segments = [];
  let lanes = [];
  const axis = makeAxis(data);
  const history = makeHistory(data, (name) => {
    recount();
    const kept = keepWork(data);
    say(kept ? name : `${name}. There is no room here to keep unsaved work: save it before you leave.`);
  });
  const player = makePlayer($("video"), data, showFrame, showNoVideo);

  // ---- what is there ----

  function recount() {
    labels = allLabels(data);
    colours = labelColours(labels);
    segments = segmentsOf(data);
    const found = new Set(segments.map((segment) => segment.label));
    lanes = labels.filter((label) => found.has(label));
    $("undo").disabled = !history.canUndo();
    $("redo").disabled = !history.canRedo();
    $("discard").disabled = !(changedFrames(data).length || data.reviewed.includes(1));
    showFilters();
    showTubes();
    showReviewed();
    $("label-names").replaceChildren(...labels.map((label) => new Option(label, label)));
    if (!view.hasDrawLabel) $("draw-label").value = lanes[0] || "";
    redrawTime();
    showFrame(player.current());
  }

  const isShown = (box) => !view.hidden.has(box.label) && (box.score >= view.minScore || box.touched);

  /** The frame whose boxes are shown on frame i: the one before, where none were looked for. */
  function shownOn(i) {
    let at = i;
    while (at > 0 && !data.looked[at] && !data.rows[at].length) at--;
    return at;
  }

  function selectedBox(i = player.current()) {
    if (!view.selected) return null;
    const {tube, id} = view.selected;
    return data.rows[i].find((box) => (tube === null ? box.id === id : box.tube === tube)) || null;
  }

  // ---- what is shown ----

  function showFrame(i) {
    drawOverlay(i);
    const time = data.times[i];
    if (axis.follow(time)) redrawTime();
    $("playhead").style.transform = `translateX(${axis.x(time, $("timeline").clientWidth)}px)`;
    const end = data.times[data.count - 1];
    $("clock").textContent = `${clock(time)} / ${clock(end)} · frame ${data.numbers[i]}`;
    const slider = $("timeline");
    slider.setAttribute("aria-valuemax", end.toFixed(2));
    slider.setAttribute("aria-valuenow", time.toFixed(2));
    slider.setAttribute("aria-valuetext", `${clock(time)}, frame ${data.numbers[i]}`);
    if ($("video").paused) {
      showInspector();
      sayFrame(i);
    }
    $("reviewed").checked = data.reviewed[i] === 1;
  }

  function drawOverlay(i) {
    const at = shownOn(i);
    const chosen = selectedBox(i);
    const shown = $("show-boxes").checked ? data.rows[at].filter(isShown) : [];
    const isOnTop = (box) => box === chosen || (view.preview && box.id === view.preview.id);
    const drawn = shown.filter((box) => !isOnTop(box)).reverse();
    if (view.preview) drawn.push(view.preview);
    else if (shown.includes(chosen)) drawn.push(chosen);
    const boxes = drawn.map((box) => ({
      box, colour: colours.get(box.label) || "#fff", faint: at !== i,
    }));
    drawBoxes($("overlay"), size, boxes, view.preview || (shown.includes(chosen) ? chosen : null));
  }

  function sayFrame(i) {
    const boxes = data.rows[i].filter(isShown).map((box) => `${box.label} ${box.score.toFixed(2)}`);
    const reviewed = data.reviewed[i] ? ", reviewed" : "";
    $("spoken").textContent =
      `Frame ${data.numbers[i]}, ${clock(data.times[i])}: ${boxes.join(", ") || "no box"}${reviewed}`;
  }

  function say(text) {
    $("spoken").textContent = text;
  }

  function tell(text) {
    $("banner").textContent = text;
    $("banner").hidden = false;
  }

  function redrawTime() {
    const shown = lanes.filter((label) => !view.hidden.has(label));
    const visible = segments.filter((segment) => segment.score >= view.minScore || segment.score === 1);
    const tube = view.selected && view.selected.tube;
    drawTimeline($("timeline"), data, axis, visible, shown, colours, tube);
    drawPlot($("plot"), data, axis, shown, colours, view.minScore);
    const names = shown.map((label) => {
      const name = document.createElement("div");
      name.dir = "auto";
      name.title = name.textContent = label;
      return name;
    });
    if (!names.length) names.push(document.createElement("div"));
    const also = ["Reviewed", "Score"].map((text) =>
      Object.assign(document.createElement("div"), {className: `${text.toLowerCase()}-name soft`, textContent: text}));
    $("lane-names").replaceChildren(...names, ...also);
    $("range").textContent = axis.isAll() ? "" : `${clock(axis.from)} to ${clock(axis.to)}`;
    $("zoom-out").disabled = $("zoom-all").disabled = axis.isAll();
  }

  function showFilters() {
    const boxes = new Map();
    for (const segment of segments) {
      boxes.set(segment.label, (boxes.get(segment.label) || 0) + segment.boxes);
    }
    const rows = lanes.map((label) => {
      const row = document.createElement("label");
      const check = Object.assign(document.createElement("input"), {
        type: "checkbox", checked: !view.hidden.has(label),
      });
      check.addEventListener("change", () => {
        if (check.checked) view.hidden.delete(label);
        else view.hidden.add(label);
        redrawTime();
        showFrame(player.current());
      });
      const name = Object.assign(document.createElement("span"), {
        className: "name", dir: "auto", textContent: label, title: label,
      });
      const count = Object.assign(document.createElement("span"), {
        className: "soft", textContent: `${boxes.get(label)} boxes`,
      });
      row.append(check, swatch(label), name, count);
      return row;
    });
    $("filters").replaceChildren(...rows);
    if (!rows.length) $("filters").textContent = "Nothing was found in this video.";
  }

  function swatch(label) {
    const mark = document.createElement("span");
    mark.className = "swatch";
    mark.style.background = colours.get(label);
    return mark;
  }

  function showTubes() {
    const rows = segments.slice(0, view.tubesShown).map((segment) => {
      const row = document.createElement("tr");
      row.classList.toggle("selected", isSelected(segment));
      const go = document.createElement("button");
      const name = Object.assign(document.createElement("bdi"), {textContent: segment.label});
      go.append(swatch(segment.label), name);
      go.addEventListener("click", () => goTo(segment));
      const seconds = timeBehind(data, segment.to) - data.times[segment.from];
      const cells = [
        segment.tube ?? "–", clock(data.times[segment.from]), clock(data.times[segment.to]),
        seconds.toFixed(2), segment.boxes, segment.score.toFixed(2),
      ];
      const first = row.insertCell();
      first.append(go);
      for (const text of cells) row.insertCell().textContent = text;
      return row;
    });
    $("tubes").replaceChildren(...rows);
    $("more-tubes").hidden = segments.length <= view.tubesShown;
    $("more-tubes").textContent = `Show all ${segments.length}`;
  }

  function isSelected(segment) {
    return view.selected !== null && segment.tube !== null && segment.tube === view.selected.tube;
  }

  function showInspector() {
    const box = selectedBox();
    $("inspector").hidden = !box;
    $("box-hint").textContent = hint(box);
    if (!box) return;
    const how = ["found by the detector", "drawn or moved by hand", "between two key frames"][box.kind];
    $("box-facts").textContent =
      `${box.tube === null ? "No tube" : `Tube ${box.tube}`}, score ${box.score.toFixed(2)}, ${how}`;
    if (document.activeElement !== $("label")) $("label").value = box.label;
    for (const edge of ["x1", "y1", "x2", "y2"]) {
      if (document.activeElement !== $(edge)) $(edge).value = box[edge].toFixed(2);
    }
    $("relabel-tube").disabled = $("delete-tube").disabled = box.tube === null;
  }

  function hint(box) {
    if (view.drawing) {
      const tube = continuedTube();
      return tube === null
        ? "Drag over the video to draw the first box of a new tube."
        : `Drag over the video: the box goes on with tube ${tube}, evenly from its nearest box. ` +
          "Press Esc to begin a new tube.";
    }
    if (box) return "";
    if (view.selected && view.selected.tube !== null) {
      return `Tube ${view.selected.tube} has no box in this frame: press D to draw one.`;
    }
    return "Click a box, or press N, to select it.";
  }

  function showReviewed() {
    const reviewed = data.reviewed.reduce((sum, is) => sum + is, 0);
    $("reviewed-note").textContent =
      `${reviewed} of ${data.count} frames. A frame without a box teaches "nobody acts here" only if it is reviewed.`;
  }

  function showNoVideo(source) {
    const summary = data.summary;
    const wanted = summary.source || summary.has_view ? decodeURIComponent(source) : "";
    $("no-video").textContent = wanted
      ? `The video cannot be played. It is expected at ${wanted}; boxes and times are shown without it.`
      : "There is no video beside this page; boxes and times are shown without it.";
    $("no-video").hidden = false;
    $("play").disabled = true;
  }

  function fitStage() {
    const video = $("video");
    const shape = video.videoWidth ? video.videoWidth / video.videoHeight : size.width / size.height;
    const room = $("stage").parentElement.clientWidth - 24;
    const width = Math.min(room, Math.max(240, window.innerHeight * 0.62) * shape);
    $("stage").style.width = `${Math.round(width)}px`;
    $("stage").style.height = `${Math.round(width / shape)}px`;
    redrawTime();
    showFrame(player.current());
  }

  // ---- what a person does ----

  function select(box) {
    view.selected = box && {tube: box.tube, id: box.id};
    showTubes();
    redrawTime();
    showFrame(player.current());
  }

  function goTo(segment) {
    $("video").pause();
    player.seek(segment.from);
    const box = data.rows[segment.from].find((each) =>
      segment.tube === null ? each.label === segment.label : each.tube === segment.tube);
    select(box || null);
  }

  /** The selected tube, where it has no box in this frame; null for a new one. */
  function continuedTube() {
    const tube = view.selected ? view.selected.tube : null;
    return tube !== null && !selectedBox() ? tube : null;
  }

  function setDrawing(on) {
    view.drawing = on;
    $("draw").setAttribute("aria-pressed", String(on));
    $("overlay").classList.toggle("drawing", on);
    if (on) $("video").pause();
    showInspector();
  }

  function drawn(edges) {
    const i = player.current();
    const going = continuedTube();
    const tube = going === null ? nextTube(data) : going;
    const label = going === null ? $("draw-label").value.trim() : labelOfTube(tube);
    if (!label) {
      say("Name the action of the box first.");
      $("draw-label").focus();
      return;
    }
    const made = {id: data.nextId++, tube, label, score: 1, kind: 1, touched: true, ...edges};
    const box = insideFrame(made, size.width, size.height);
    view.selected = {tube, id: box.id};
    setDrawing(false);
    history.change(`drew ${label}`, withKeyFrame(data, i, box, going !== null));
  }

  function labelOfTube(tube) {
    const here = player.current();
    const frames = framesOfTube(data, tube);
    frames.sort((one, other) => Math.abs(one - here) - Math.abs(other - here));
    return data.rows[frames[0]].find((box) => box.tube === tube).label;
  }

  function moved(box) {
    const inside = insideFrame({...box, score: 1, kind: 1, touched: true}, size.width, size.height);
    history.change(`moved ${box.label}`, withKeyFrame(data, player.current(), inside, false));
  }

  function nudge(dx, dy) {
    const box = selectedBox();
    if (!box) return;
    const right = Math.min(Math.max(dx, -box.x1), size.width - box.x2);
    const down = Math.min(Math.max(dy, -box.y1), size.height - box.y2);
    moved({...box, x1: box.x1 + right, x2: box.x2 + right, y1: box.y1 + down, y2: box.y2 + down});
  }

  function setEdge(edge) {
    const box = selectedBox();
    const value = $(edge).valueAsNumber;
    if (!box || Number.isNaN(value) || value === box[edge]) return;
    const changed = {...box, [edge]: value};
    if (changed.x2 > changed.x1 && changed.y2 > changed.y1) moved(changed);
    else say("An edge lies beyond the one across from it.");
  }

  /** The selected box, or its tube, replaced by what `make` gives for each box; none for null. */
  function changeSelected(name, whole, make) {
    const box = selectedBox();
    if (!box) return;
    const isMeant = (each) => (whole ? each.tube === box.tube : each.id === box.id);
    const frames = whole ? framesOfTube(data, box.tube) : [player.current()];
    const change = new Map(frames.map((i) => [
      i, data.rows[i].map((each) => (isMeant(each) ? make(each) : each)).filter(Boolean),
    ]));
    history.change(name, change);
  }

  function relabel(whole) {
    const label = $("label").value.trim();
    if (!label) return say("Name the action first.");
    changeSelected(`renamed to ${label}`, whole, (box) => ({...box, label, score: 1, touched: true}));
  }

  function remove(whole) {
    changeSelected(whole ? "deleted a tube" : "deleted a box", whole, () => null);
  }

  function review(frames, value, name) {
    history.change(name, new Map(), new Map(frames.map((i) => [i, value])));
  }

  function toggleReviewed() {
    const i = player.current();
    review([i], data.reviewed[i] ? 0 : 1, data.reviewed[i] ? "not reviewed" : "reviewed");
  }

  /** This frame and all before it, back to the latest reviewed one. */
  function reviewUpToHere() {
    const frames = [];
    for (let i = player.current(); i >= 0 && (frames.length === 0 || !data.reviewed[i]); i--) frames.push(i);
    review(frames, 1, `${frames.length} frames reviewed`);
  }

  function neighbour(step) {
    const i = player.current();
    const shown = segments.filter((segment) => !view.hidden.has(segment.label));
    const found = step > 0
      ? shown.find((segment) => segment.from > i)
      : shown.findLast((segment) => segment.from < i);
    if (found) goTo(found);
  }

  function selectNext() {
    const boxes = data.rows[player.current()].filter(isShown);
    const at = boxes.indexOf(selectedBox());
    if (boxes.length) select(boxes[(at + 1) % boxes.length]);
  }

  function discardAll() {
    if (!confirm("Discard all corrections and marks of this video?")) return;
    data.rows = data.original.slice();
    data.reviewed.fill(0);
    history.forget();
    $("banner").hidden = true;
    keepWork(data);
    recount();
  }

  function step(frames) {
    $("video").pause();
    player.seek(player.current() + frames);
  }

  // ---- wiring ----

  watchPointer($("overlay"), {
    size,
    boxes: () => ($("show-boxes").checked ? data.rows[player.current()].filter(isShown) : []),
    selected: selectedBox,
    isDrawing: () => view.drawing,
    pick: (box) => { $("video").pause(); select(box); },
    preview: (edges) => {
      const label = $("draw-label").value;
      view.preview = edges && {label, score: 1, kind: 1, touched: true, tube: null, ...edges};
      drawOverlay(player.current());
    },
    moved,
    drawn,
  });

  $("timeline").addEventListener("click", ({offsetX, offsetY}) => {
    const shown = lanes.filter((label) => !view.hidden.has(label));
    const segment = segmentAt($("timeline"), data, axis, segments, shown, offsetX, offsetY);
    player.seek(lastAtMost(data.times, axis.time(offsetX, $("timeline").clientWidth) + 1e-9));
    if (segment && segment.tube !== null) {
      view.selected = {tube: segment.tube, id: null};
      select({tube: segment.tube, id: null});
    }
  });
  $("plot").addEventListener("click", ({offsetX}) => {
    player.seek(lastAtMost(data.times, axis.time(offsetX, $("plot").clientWidth) + 1e-9));
  });
  const zoom = (factor, around) => {
    axis.zoom(factor, around);
    redrawTime();
    showFrame(player.current());
  };
  $("tracks").addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // without it the page scrolls
    event.preventDefault();
    const x = event.clientX - $("tracks").getBoundingClientRect().left;
    zoom(event.deltaY > 0 ? 1.25 : 0.8, axis.time(x, $("tracks").clientWidth));
  }, {passive: false});

  $("draw-label").addEventListener("input", () => { view.hasDrawLabel = true; });
  const now = () => data.times[player.current()];
  const onClick = {
    undo: history.undo,
    redo: history.redo,
    discard: discardAll,
    save: () => {
      saveCorrections(data);
      keepWork(data, true);
      const stem = `${pageStem()}.corrected`;
      tell(`Saved as ${stem}.csv and ${stem}.meta.json, where your browser puts downloads: keep both beside the video.`);
    },
    play: player.toggle,
    back: () => step(-1),
    forward: () => step(1),
    previous: () => neighbour(-1),
    next: () => neighbour(1),
    draw: () => setDrawing(!view.drawing),
    "relabel-box": () => relabel(false),
    "relabel-tube": () => relabel(true),
    "delete-box": () => remove(false),
    "delete-tube": () => remove(true),
    "review-up-to": reviewUpToHere,
    "review-all": () => review(Array.from(data.times.keys()), 1, "all frames reviewed"),
    "zoom-in": () => zoom(0.5, now()),
    "zoom-out": () => zoom(2, now()),
    "zoom-all": () => { axis.all(); redrawTime(); showFrame(player.current()); },
    "more-tubes": () => { view.tubesShown = Infinity; showTubes(); },
  };
  for (const [id, act] of Object.entries(onClick)) $(id).addEventListener("click", act);
  for (const edge of ["x1", "y1", "x2", "y2"]) $(edge).addEventListener("change", () => setEdge(edge));
  $("label").addEventListener("keydown", (event) => { if (event.key === "Enter") relabel(event.shiftKey); });
  $("reviewed").addEventListener("change", toggleReviewed);
  $("show-boxes").addEventListener("change", () => showFrame(player.current()));
  $("speed").addEventListener("change", () => { $("video").playbackRate = Number($("speed").value); });
  $("min-score").addEventListener("input", () => {
    view.minScore = $("min-score").valueAsNumber;
    $("min-score-value").textContent = view.minScore.toFixed(2);
    redrawTime();
    showFrame(player.current());
  });
  $("video").addEventListener("play", () => { $("play").textContent = "Pause"; });
  $("video").addEventListener("pause", () => {
    $("play").textContent = "Play";
    showFrame(player.current());
  });
  $("video").addEventListener("loadedmetadata", fitStage);
  window.addEventListener("resize", fitStage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawTime);

  const onKey = {
    " ": player.toggle,
    ",": () => step(-1),
    ".": () => step(1),
    "ArrowLeft": () => step(-1),
    "ArrowRight": () => step(1),
    "shift+ArrowLeft": () => step(-10),
    "shift+ArrowRight": () => step(10),
    "Home": () => step(-data.count),
    "End": () => step(data.count),
    "[": () => neighbour(-1),
    "]": () => neighbour(1),
    "n": selectNext,
    "l": () => { if (selectedBox()) $("label").select(); },
    "d": () => setDrawing(!view.drawing),
    "b": () => $("show-boxes").click(),
    "r": toggleReviewed,
    "shift+r": reviewUpToHere,
    "Delete": () => remove(false),
    "shift+Delete": () => remove(true),
    "Escape": () => { setDrawing(false); select(null); },
    "ctrl+z": history.undo,
    "ctrl+shift+z": history.redo,
    "ctrl+y": history.redo,
    "alt+ArrowLeft": () => nudge(-1, 0),
    "alt+ArrowRight": () => nudge(1, 0),
    "alt+ArrowUp": () => nudge(0, -1),
    "alt+ArrowDown": () => nudge(0, 1),
    "alt+shift+ArrowLeft": () => nudge(-10, 0),
    "alt+shift+ArrowRight": () => nudge(10, 0),
    "alt+shift+ArrowUp": () => nudge(0, -10),
    "alt+shift+ArrowDown": () => nudge(0, 10),
  };
  document.addEventListener("keydown", (event) => {
    if (ownsKey(event)) return;
    const act = onKey[keyName(event)];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // ---- beginning ----

  const facts = [
    data.summary.video,
    `${size.width}×${size.height}`,
    `${data.count} frames`,
    `tubedet ${data.meta.tubedet_version}`,
  ];
  if (!data.summary.complete) facts.push("partial: the run ended before the last frame");
  $("facts").textContent = facts.join(" · ");
  const notes = notesOn(data);
  $("notes").replaceChildren(...notes.map((text) =>
    Object.assign(document.createElement("li"), {textContent: text, dir: "auto"})));
  $("notes").hidden = !notes.length;
  const kept = bringBackWork(data);
  if (kept) {
    const unsaved = kept.saved ? "" : " They are not in a file before you save them.";
    tell(`Corrections from your last visit were brought back.${unsaved}`);
  }
  recount();
  fitStage();
  window.tubedetPage = {data, player}; // for whoever automates the page
}

/** What was lost of the video, and whether a browser may show it otherwise than it was decoded. */
function notesOn({summary, meta}) {
  const notes = meta.notes.filter((note) => note.loss).map((note) => note.text);
  if (summary.source && (meta.skipped_frames || meta.repaired_timestamps)) {
    notes.push("The video is damaged: a browser may stop in it, or show other frames than the " +
      "boxes are of. For an exact page repair it first, or convert it to MKV.");
  }
  return notes;
}

/** The name of a key with its modifiers, as the table of keys has it. */
function keyName(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const hasShift = event.shiftKey && !/^[^a-z]$/.test(key);
  const held = [event.ctrlKey || event.metaKey ? "ctrl+" : "", event.altKey ? "alt+" : "", hasShift ? "shift+" : ""];
  return held.join("") + key;
}

/** Whether a key belongs to the field or button that has the focus. */
function ownsKey({target, key, ctrlKey, metaKey}) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.matches("select, textarea, input:not([type=checkbox], [type=range])")) return true;
  if (ctrlKey || metaKey) return false;
  if (key === " " || key === "Enter") return target.matches("button, summary, input");
  return key.startsWith("Arrow") && target.matches("input[type=range], .table");
}
