/* What only a browser can do: send files, record, play, and draw in the colors of the page. */
"use strict";

document.documentElement.lang = "en";

window.recurra = (() => {
  const MAX_NAME_CHARS = 255;
  const LISTENING_RATE = 16000; // Hz

  const color = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

  function switchTheme() {
    const dark = document.body.classList.contains("body--dark");
    document.cookie = `recurra_theme=${dark ? "light" : "dark"}; path=/; max-age=31536000; samesite=strict`;
    location.reload();
  }

  // A file that the page has already, in place of one that was chosen; without a path nothing is shown.
  function showFile(id, path) {
    document.getElementById(id).value = "";
    for (const element of document.querySelectorAll(`[data-file="${id}"]`)) {
      if (element.src.startsWith("blob:")) URL.revokeObjectURL(element.src);
      element.hidden = !path;
      if (path) element.src = `${window.path_prefix || ""}${path}`;
      else element.removeAttribute("src");
    }
  }

  // The media elements that show a file by themselves.
  function showMedia(input, file) {
    for (const element of document.querySelectorAll(`[data-file="${input.id}"]`)) {
      if (element.src) URL.revokeObjectURL(element.src);
      element.src = URL.createObjectURL(file);
      element.hidden = false;
    }
  }

  function sendFile(input, emit) {
    const file = input.files[0];
    if (!file) return;
    showMedia(input, file);
    const status = input.closest(".file").querySelector(".sent");
    const request = new XMLHttpRequest();
    request.open("POST", `${window.path_prefix || ""}/files`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("X-File-Name", encodeURIComponent(file.name.slice(0, MAX_NAME_CHARS)));
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) status.textContent = `${Math.round((100 * event.loaded) / event.total)} %`;
    };
    request.onload = () => {
      status.textContent = "";
      if (request.status === 200) emit({ token: JSON.parse(request.responseText).token });
      else emit({ error: request.responseText.slice(0, 500) });
    };
    request.onerror = () => emit({ error: "The file could not be sent" });
    request.send(file);
  }

  // The microphone, or null; why there is none stands in the status.
  async function openMicrophone(status) {
    if (!navigator.mediaDevices) {
      status.textContent = "Browsers record on https and on localhost only";
      return null;
    }
    try {
      return await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      status.textContent = `No microphone: ${error.message}`;
      return null;
    }
  }

  // The samples of a microphone while somebody speaks: the rate first, then pieces in base64, then the end.
  async function listen(button, emit) {
    if (button.recorder) {
      button.recorder.port.postMessage("end");
      return;
    }
    const status = button.closest(".file").querySelector(".sent");
    const microphone = await openMicrophone(status);
    if (!microphone) return;
    let context = new AudioContext({ sampleRate: LISTENING_RATE });
    let source;
    try {
      source = context.createMediaStreamSource(microphone);
    } catch {
      context.close(); // some browsers do not resample a microphone
      context = new AudioContext();
      source = context.createMediaStreamSource(microphone);
    }
    await context.audioWorklet.addModule(`${window.path_prefix || ""}/static/recorder.js`);
    const recorder = new AudioWorkletNode(context, "recurra-recorder");
    button.release = () => {
      microphone.getTracks().forEach((track) => track.stop());
      context.close();
      button.recorder = null;
      status.textContent = "";
      (button.querySelector("div") || button).textContent = "Listen live";
    };
    recorder.port.onmessage = ({ data }) => {
      if (!button.recorder) return;
      if (data) {
        emit({ samples: btoa(String.fromCharCode(...new Uint8Array(data.buffer))) });
      } else {
        emit({ end: true });
        button.release();
      }
    };
    button.recorder = recorder;
    emit({ rate: context.sampleRate });
    source.connect(recorder).connect(context.destination);
    (button.querySelector("div") || button).textContent = "Stop listening";
    status.textContent = "Listening…";
  }

  function stopListening(id) {
    const button = document.getElementById(id);
    if (button && button.recorder) button.release();
  }

  async function record(button, id) {
    const input = document.getElementById(id);
    const label = button.querySelector("div") || button;
    if (button.recorder) {
      button.recorder.stop();
      return;
    }
    const status = input.closest(".file").querySelector(".sent");
    const stream = await openMicrophone(status);
    if (!stream) return;
    const pieces = [];
    const recorder = new MediaRecorder(stream);
    button.recorder = recorder;
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      button.recorder = null;
      status.textContent = "";
      label.textContent = "Record";
      const ending = recorder.mimeType.includes("mp4") ? "m4a" : recorder.mimeType.includes("ogg") ? "ogg" : "webm";
      const transfer = new DataTransfer();
      transfer.items.add(new File(pieces, `recording.${ending}`, { type: recorder.mimeType }));
      input.files = transfer.files;
      input.dispatchEvent(new Event("change"));
    };
    recorder.start();
    label.textContent = "Stop";
    status.textContent = "Recording…";
  }

  // Words that play what was said: each has the seconds at which it begins.
  function seek(button) {
    for (const media of document.querySelectorAll("audio[data-file]")) {
      if (media.hidden) continue;
      media.currentTime = Number(button.dataset.start);
      media.play();
    }
  }

  let player = null;

  function stopMusic() {
    if (player) {
      cancelAnimationFrame(player.frame);
      player.context.close();
      player.button.textContent = "Play";
      player.cursor.setAttribute("visibility", "hidden");
      player = null;
    }
  }

  // Notes of a piano roll, by simple tones; the button's roll has them as its rectangles.
  function playMusic(button) {
    const same = player && player.button === button;
    stopMusic();
    if (same) return;
    const roll = button.parentElement.querySelector("svg");
    const cursor = roll.querySelector(".cursor");
    const context = new AudioContext();
    const volume = context.createGain();
    volume.gain.value = 0.15;
    volume.connect(context.destination);
    const begin = context.currentTime + 0.1;
    let end = 0;
    for (const note of roll.querySelectorAll("rect[data-pitch]")) {
      const start = Number(note.dataset.start);
      const stop = Number(note.dataset.end);
      const tone = context.createOscillator();
      const level = context.createGain();
      tone.type = "triangle";
      tone.frequency.value = 440 * 2 ** ((Number(note.dataset.pitch) - 69) / 12);
      level.gain.setValueAtTime(0, begin + start);
      level.gain.linearRampToValueAtTime(Number(note.dataset.velocity) / 127, begin + start + 0.01);
      level.gain.setTargetAtTime(0, begin + Math.max(stop - 0.05, start + 0.02), 0.03);
      tone.connect(level).connect(volume);
      tone.start(begin + start);
      tone.stop(begin + stop + 0.2);
      end = Math.max(end, stop);
    }
    const scale = Number(roll.dataset.scale);
    player = { button, context, cursor, frame: 0 };
    button.textContent = "Stop";
    cursor.setAttribute("visibility", "visible");
    const move = () => {
      const seconds = context.currentTime - begin;
      if (seconds > end + 0.3) {
        stopMusic();
        return;
      }
      cursor.setAttribute("x", Math.max(seconds, 0) * scale);
      player.frame = requestAnimationFrame(move);
    };
    move();
  }

  return { color, switchTheme, sendFile, showFile, record, listen, stopListening, seek, playMusic };
})();
