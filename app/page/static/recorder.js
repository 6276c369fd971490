/* Samples of a microphone as 16-bit numbers, a quarter of a second at a time; runs beside the page. */
"use strict";

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(Math.round(sampleRate / 4));
    this.count = 0;
    this.ended = false;
    this.port.onmessage = () => {
      this.ended = true;
      this.send();
      this.port.postMessage(null);
    };
  }

  send() {
    this.port.postMessage(this.samples.slice(0, this.count));
    this.count = 0;
  }

  process([channels]) {
    for (const value of channels[0] || []) {
      this.samples[this.count++] = Math.round(Math.max(-1, Math.min(1, value)) * 32767);
      if (this.count === this.samples.length) this.send();
    }
    return !this.ended;
  }
}

registerProcessor("recurra-recorder", Recorder);
