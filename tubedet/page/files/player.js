// The video and which of the page's frames it shows.

/**
 * Plays the video and calls `shown(i)` whenever another frame is on the screen.
 *
 * A browser says which frame it presents (requestVideoFrameCallback) or, where it does not, what
 * time it is. `failed` is called with the address of a video that cannot be played.
 */
function makePlayer(video, data, shown, failed) {
  const times = data.times.map((time) => time + data.summary.offset_s);
  const tellsFrames = "requestVideoFrameCallback" in video;
  let current = 0;
  let works = true;

  function show(i) {
    current = i;
    shown(i);
  }

  function middleOf(i) {
    const next = i + 1 < data.count ? times[i + 1] : times[i] + 1 / data.summary.fps;
    const middle = (times[i] + next) / 2;
    return video.duration ? Math.min(middle, Math.max(times[i], video.duration - 0.001)) : middle;
  }

  function stopAtEnd(time) {
    if (!video.paused && time > middleOf(data.count - 1)) video.pause();
  }

  function presented(_, {mediaTime}) {
    if (!video.seeking) {
      const i = nearest(times, mediaTime);
      if (i !== current) show(i);
      stopAtEnd(mediaTime);
    }
    video.requestVideoFrameCallback(presented);
  }

  function watchClock() {
    const i = lastAtMost(times, video.currentTime + 0.001);
    if (!video.seeking && i !== current) show(i);
    stopAtEnd(video.currentTime);
    if (!video.paused) requestAnimationFrame(watchClock);
  }

  function seek(i) {
    const wanted = Math.min(Math.max(i, 0), data.count - 1);
    if (works) video.currentTime = middleOf(wanted);
    show(wanted);
  }

  function toggle() {
    if (!works) return;
    if (!video.paused) video.pause();
    else if (current === data.count - 1) { seek(0); video.play(); }
    else video.play();
  }

  video.addEventListener("error", () => { works = false; failed(video.src); });
  video.addEventListener("loadedmetadata", () => seek(current));
  if (tellsFrames) video.requestVideoFrameCallback(presented);
  else video.addEventListener("play", watchClock);
  video.src = addressOf(data.summary);
  return {seek, toggle, current: () => current};
}

/** The source, or the copy that lies beside this page under its name. */
function addressOf(summary) {
  if (summary.source) return summary.source;
  const here = location.pathname.split("/").pop();
  return summary.has_view ? here.replace(/\.html?$/i, ".view.mp4") : "about:blank";
}
