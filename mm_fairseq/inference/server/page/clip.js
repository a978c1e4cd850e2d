// What the person gives: a file that is picked, dropped or recorded, with its player.

import { byId, length, clock, show, size } from "./dom.js";

const PLAIN = /\.(wav|mp3|flac|ogg|oga|opus|m4a|aac|wma|aif|aiff|au)$/i;
const SUBTITLES = /\.(srt|vtt)$/i;
const SPARE = 0.95; // of the largest upload: where a recording stops by itself

export class ClipField {
  constructor({ changed, complain, words }) {
    this.file = null;
    this.seconds = null;
    this.limit = Infinity;
    this.asking = null; // while the browser asks whether it may record; another clip, or none, takes its place
    Object.assign(this, { changed, complain, words });
    byId("file").addEventListener("change", (event) => event.target.files[0] && this.take(event.target.files[0]));
    byId("remove").addEventListener("click", () => (this.clear(), byId("file").focus()));
    byId("record-audio").addEventListener("click", () => this.record(false));
    byId("record-video").addEventListener("click", () => this.record(true));
    byId("stop").addEventListener("click", () => this.finish(true));
    byId("discard").addEventListener("click", () => this.finish(false));
    this.listenForDrops();
  }

  get player() {
    return ["video-player", "audio-player"].map(byId).find((player) => !player.hidden) ?? null;
  }

  take(file, seconds = null) {
    if (SUBTITLES.test(file.name)) {
      file.text().then((text) => this.words(text));
      return;
    }
    this.clear();
    if (file.size > this.limit) {
      this.complain(`${file.name} has ${size(file.size)}; the server takes at most ${size(this.limit)}.`);
      return;
    }
    if (!file.size) {
      this.complain(`${file.name} is empty.`);
      return;
    }
    this.file = file;
    this.seconds = seconds;
    byId("file-name").textContent = file.name;
    this.play(file);
    this.arrange();
    this.changed();
  }

  play(file) {
    const sound = file.type.startsWith("audio/") || PLAIN.test(file.name);
    const player = byId(sound ? "audio-player" : "video-player");
    this.address = URL.createObjectURL(file);
    player.onloadedmetadata = () => {
      if (Number.isFinite(player.duration)) this.seconds = player.duration;
      if (player === byId("video-player") && !player.videoWidth) {
        show(player, false);
        this.playInstead(byId("audio-player"));
      }
      this.arrange();
      this.changed();
    };
    player.onerror = () => {
      show(player, false);
      show(byId("unplayable"), true);
    };
    show(player, true);
    player.src = this.address;
  }

  playInstead(player) {
    player.onloadedmetadata = null;
    show(player, true);
    player.src = this.address;
  }

  clear() {
    for (const player of [byId("video-player"), byId("audio-player")]) {
      player.onerror = player.onloadedmetadata = null;
      player.removeAttribute("src");
      player.load();
      show(player, false);
    }
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = this.file = this.seconds = this.asking = null;
    byId("file").value = "";
    show(byId("unplayable"), false);
    this.complain("");
    this.arrange();
    this.changed();
  }

  arrange() {
    const facts = this.file ? [size(this.file.size), this.seconds === null ? null : length(this.seconds)] : [];
    byId("file-facts").textContent = facts.filter(Boolean).join(", ");
    show(byId("chosen"), this.file !== null);
    show(byId("recording"), Boolean(this.recorder));
    show(byId("drop"), !this.file && !this.recorder);
  }

  listenForDrops() {
    const target = byId("drop");
    const over = (on) => target.classList.toggle("over", on);
    // Everywhere, or the browser would leave the page for a file that lands beside the field.
    addEventListener("dragover", (event) => {
      event.preventDefault();
      over(event.dataTransfer?.types.includes("Files"));
    });
    addEventListener("dragleave", (event) => event.relatedTarget || over(false));
    addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      const files = event.dataTransfer?.files ?? [];
      if (this.recorder || !files.length) return;
      this.take(files[0]);
      if (files.length > 1) this.complain(`One clip at a time: took ${files[0].name}.`);
    });
  }

  async record(pictures) {
    if (this.asking || this.recorder) return;
    this.complain("");
    if (!navigator.mediaDevices || !window.MediaRecorder) {
      this.complain("This browser records only on pages of this machine (127.0.0.1) or by https.");
      return;
    }
    const asking = (this.asking = {});
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: pictures });
    } catch (error) {
      if (this.asking !== asking) return;
      this.asking = null;
      const denied = error.name === "NotAllowedError";
      this.complain(denied ? "The browser was not allowed to record." : `Nothing to record with: ${error.message}`);
      return;
    }
    if (this.asking !== asking) {
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    this.asking = null;
    const recorder = (this.recorder = new MediaRecorder(stream));
    const pieces = [];
    let bytes = 0;
    recorder.began = performance.now();
    recorder.ondataavailable = ({ data }) => {
      pieces.push(data);
      bytes += data.size;
      if (bytes > SPARE * this.limit) this.finish(true);
    };
    recorder.onstop = () => {
      if (!recorder.kept) return;
      const type = recorder.mimeType.split(";")[0];
      const name = `${pictures ? "camera" : "sound"}.${type.split("/")[1] ?? "webm"}`;
      this.take(new File(pieces, name, { type }), recorder.seconds);
      byId("go").focus();
    };
    recorder.onerror = () => this.finish(true);
    recorder.timer = setInterval(() => {
      byId("clock").textContent = clock((performance.now() - recorder.began) / 1000);
    }, 250);
    const preview = byId("preview");
    byId("clock").textContent = clock(0);
    preview.srcObject = pictures ? stream : null;
    show(preview, pictures);
    if (pictures) preview.play().catch(() => null);
    recorder.start(1000);
    this.arrange();
    byId("stop").focus();
  }

  finish(keep) {
    const recorder = this.recorder;
    if (!recorder) return;
    this.recorder = null;
    recorder.kept = keep;
    recorder.seconds = (performance.now() - recorder.began) / 1000;
    clearInterval(recorder.timer);
    if (recorder.state !== "inactive") recorder.stop();
    recorder.stream.getTracks().forEach((track) => track.stop());
    byId("preview").srcObject = null;
    this.arrange();
    if (!keep) byId("record-audio").focus();
  }
}
