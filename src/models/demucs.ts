import {
  type AnyModule,
  Conv1d,
  ConvTranspose1d,
  GLU,
  LSTM,
  Module,
  ModuleList,
  ReLU,
  Sequential,
} from '../nn/index.ts';
import { add, pad } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Options of {@link Demucs}. */
export interface DemucsOptions {
  /** Channels of the recording; 1. */
  readonly audioChannels?: number;
  /** Channels after the first encoder layer; doubled by every further one; 48. */
  readonly hidden?: number;
  /** Encoder layers, and as many decoder layers; 5. */
  readonly depth?: number;
  /** Samples that an encoder layer sees at once; 8. */
  readonly kernelSize?: number;
  /** Samples that it moves on by; 4. */
  readonly stride?: number;
}

/** The sequence model between encoder and decoder: an LSTM along time, on [batch, channels, frames]. */
export class DemucsLstm extends Module {
  lstm: LSTM;

  constructor(channels: number) {
    super();
    this.lstm = new LSTM(channels, channels, { numLayers: 2 });
  }

  forward(x: Tensor): Tensor {
    const [output] = this.lstm(x.permute(2, 0, 1));
    return output.permute(1, 2, 0);
  }
}

/**
 * Cleans or separates sound on the waveform itself: strided convolutions down, an LSTM, transposed convolutions up, with a
 * connection from every encoder layer to the decoder layer of its size. Takes [batch, audioChannels, time] of any length
 * and gives the same shape; zeros are added to the next length that the strides divide, and cut off again.
 *
 * Layers and keys are those of the causal speech model; its resampling and its scaling by loudness are left to the caller.
 * Source: Défossez et al., "Real Time Speech Enhancement in the Waveform Domain" (2020).
 */
export class Demucs extends Module {
  encoder: ModuleList;
  lstm: AnyModule;
  decoder: ModuleList;
  readonly kernelSize: number;
  readonly stride: number;

  /** @param gate Makes the gated activation that halves the channels. */
  constructor(options: DemucsOptions = {}, gate: () => AnyModule = () => new GLU(1)) {
    super();
    const { audioChannels = 1, hidden = 48, depth = 5, kernelSize = 8, stride = 4 } = options;
    this.kernelSize = kernelSize;
    this.stride = stride;
    const encoder: AnyModule[] = [];
    const decoder: AnyModule[] = [];
    for (let level = 0; level < depth; level++) {
      const outside = level === 0 ? audioChannels : hidden * 2 ** (level - 1);
      const channels = hidden * 2 ** level;
      encoder.push(
        new Sequential(
          new Conv1d(outside, channels, kernelSize, { stride }),
          new ReLU(),
          new Conv1d(channels, 2 * channels, 1),
          gate(),
        ),
      );
      const up = [
        new Conv1d(channels, 2 * channels, 1),
        gate(),
        new ConvTranspose1d(channels, outside, kernelSize, { stride }),
      ];
      decoder.unshift(new Sequential(...up, ...(level > 0 ? [new ReLU()] : [])));
    }
    this.encoder = new ModuleList(encoder);
    this.lstm = new DemucsLstm(hidden * 2 ** (depth - 1));
    this.decoder = new ModuleList(decoder);
  }

  /** The shortest length from `length` on that comes back whole through all layers. */
  validLength(length: number): number {
    let frames = length;
    const depth = [...this.encoder].length;
    for (let level = 0; level < depth; level++) {
      frames = Math.max(Math.ceil((frames - this.kernelSize) / this.stride) + 1, 1);
    }
    for (let level = 0; level < depth; level++) frames = (frames - 1) * this.stride + this.kernelSize;
    return frames;
  }

  forward(recording: Tensor): Tensor {
    const length = recording.shape[2];
    const missing = this.validLength(length) - length;
    const whole = missing > 0 ? pad(recording, [0, missing]) : recording;
    return this.filter(whole).narrow(2, 0, length);
  }

  /** Encoder, LSTM and decoder, on a length that {@link validLength} allows. */
  filter(x: Tensor): Tensor {
    const skips: Tensor[] = [];
    let signal = x;
    for (const layer of this.encoder) {
      signal = layer(signal);
      skips.push(signal);
    }
    signal = this.lstm(signal);
    for (const layer of this.decoder) {
      const level = skips.length - 1;
      signal = layer(this.join(signal, skips.pop() as Tensor, level));
    }
    return signal;
  }

  /** Adds to a decoder layer's input what the encoder gave at the same level. */
  join(signal: Tensor, skip: Tensor, _level: number): Tensor {
    return add(signal, skip);
  }
}

/**
 * A {@link Demucs} with random weights: 18,867,937 parameters where no option is given.
 *
 * @example
 * demucs({ hidden: 8, depth: 3 })(randn([1, 1, 16000])).shape; // [1, 1, 16000]
 */
export function demucs(options: DemucsOptions = {}): Demucs {
  return new Demucs(options);
}
