"use strict";
// Only comfort: without it the page is the same, its videos play with their own controls.
const cards = Array.from(document.querySelectorAll(".card"));
const said = document.getElementById("said");
let current = -1;
let hush = 0;

function say(text) {
  said.textContent = text;
  clearTimeout(hush);
  hush = setTimeout(() => { said.textContent = ""; }, 2500);
}

function go(index) {
  if (!cards.length) return;
  current = Math.min(Math.max(index, 0), cards.length - 1);
  cards.forEach((card, i) => card.classList.toggle("current", i === current));
  cards[current].focus({ preventScroll: true });
  cards[current].scrollIntoView({ block: "nearest" });
}

function seconds(element, name) {
  return Number(element.dataset[name]);
}

// Plays from the moment's start, or goes on where it stands inside the moment.
function playMoment(card) {
  const video = card.querySelector("video");
  if (!video) {
    say("There is no video to play here");
    return;
  }
  if (!video.paused) {
    video.pause();
    return;
  }
  const inside = video.currentTime >= seconds(card, "start")
    && video.currentTime < seconds(card, "end") - 0.05;
  playFrom(card, inside ? video.currentTime : seconds(card, "start"));
}

function playFrom(card, time) {
  const video = card.querySelector("video");
  if (!video) return;
  video.currentTime = time;
  video.play().catch(() => {});
}

function follow(card, video) {
  const end = seconds(card, "end");
  const lines = card.querySelectorAll(".line");
  const button = card.querySelector(".play");
  let stopAtEnd = false;

  function show() {
    lines.forEach((line) => {
      const [from, to] = [seconds(line, "from"), seconds(line, "to")];
      const x = (video.currentTime - from) / (to - from) * 1000;
      const head = line.querySelector(".playhead");
      head.setAttribute("x1", x);
      head.setAttribute("x2", x);
    });
  }
  function frame() {
    show();
    if (stopAtEnd && video.currentTime >= end) {
      video.pause();
      stopAtEnd = false;
    }
    if (!video.paused) requestAnimationFrame(frame);
  }
  video.addEventListener("play", () => {
    document.querySelectorAll("video").forEach((other) => { if (other !== video) other.pause(); });
    // Played on from the moment's end, it goes past it.
    stopAtEnd = video.currentTime < end - 0.05;
    button.textContent = "Pause";
    requestAnimationFrame(frame);
  });
  video.addEventListener("pause", () => { button.textContent = "Play the moment"; });
  video.addEventListener("seeked", show);
  video.addEventListener("error", () => {
    card.querySelector(".unplayable").hidden = false;
  });
}

function copy(text) {
  const done = () => say("Copied: " + text);
  const byHand = () => {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    if (copied) done(); else say("This browser does not allow copying");
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, byHand); else byHand();
}

cards.forEach((card, index) => {
  const video = card.querySelector("video");
  card.querySelector(".actions").hidden = false;
  card.addEventListener("pointerdown", () => {
    current = index;
    cards.forEach((other) => other.classList.toggle("current", other === card));
  });
  card.querySelectorAll(".copy").forEach((button) => {
    button.addEventListener("click", () => copy(button.dataset.copy));
  });
  if (!video) {
    card.querySelector(".play").remove();
    return;
  }
  follow(card, video);
  card.querySelector(".play").addEventListener("click", () => playMoment(card));
  const figure = card.querySelector(".timeline");
  figure.classList.add("live");
  figure.querySelectorAll(".line").forEach((line) => {
    line.addEventListener("click", (event) => {
      const box = line.getBoundingClientRect();
      const [from, to] = [seconds(line, "from"), seconds(line, "to")];
      playFrom(card, from + (event.clientX - box.left) / box.width * (to - from));
    });
  });
  const strip = card.querySelector(".strip");
  if (strip) {
    strip.classList.add("live");
    strip.querySelectorAll("li").forEach((item) => {
      item.addEventListener("click", () => playFrom(card, Number(item.dataset.time)));
    });
  }
});

document.getElementById("keys").hidden = !cards.length;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "j") go(current + 1);
  else if (event.key === "k") go(current - 1);
  else if (event.key === " ") {
    // A button, a link or a video's own controls keep their space bar.
    if (event.target.closest("button, a, summary, video")) return;
    event.preventDefault();
    if (current < 0) go(0);
    playMoment(cards[current]);
  }
});
