const EVERY_MS = 1000;

function put(id, text) {
  document.getElementById(id).textContent = text;
}

function item(...parts) {
  const li = document.createElement("li");
  for (const [tag, text] of parts) {
    const part = document.createElement(tag);
    part.textContent = text;
    if (tag === "span") part.className = "soft";
    li.append(part, " ");
  }
  return li;
}

function clock(iso) {
  return new Date(iso).toLocaleTimeString();
}

function eventItem(event) {
  const lasted = event.duration_s === null ? "started" : `ended after ${event.duration_s} s`;
  return item(["time", clock(event.at)], ["bdi", event.label], ["span", lasted]);
}

function outageItem(outage) {
  const lasts = outage.seconds === null ? "now" : `${outage.seconds.toFixed(1)} s`;
  return item(["span", lasts], ["bdi", outage.reason]);
}

function setState(state, words) {
  const element = document.getElementById("state");
  if (element.dataset.state === state && element.textContent === words) return;
  element.dataset.state = state;
  element.textContent = words;
}

function show(status) {
  setState(status.connected ? "live" : "away", status.connected ? "live" : "reconnecting");
  put("frames", status.frames);
  put("rate", status.frames_per_s.toFixed(1));
  put("dropped", status.dropped_frames);
  put("outages", status.outages);
  put("at", status.at === null ? "none yet" : clock(status.at));
  const actions = status.actions.map((label) => {
    const span = document.createElement("span");
    span.className = "action";
    const name = document.createElement("bdi");
    name.textContent = label;
    span.append(name);
    return span;
  });
  document.getElementById("actions").replaceChildren(...actions);
  if (status.events.length) {
    document.getElementById("events").replaceChildren(...status.events.map(eventItem));
  }
  document.getElementById("away").hidden = status.latest_outages.length === 0;
  document.getElementById("outage-list").replaceChildren(...status.latest_outages.map(outageItem));
}

async function renew() {
  try {
    const answer = await fetch("status", { cache: "no-store" });
    show(await answer.json());
  } catch {
    setState("away", "the run has ended, or cannot be reached");
  }
  setTimeout(renew, EVERY_MS);
}

renew();
