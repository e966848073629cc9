import type { Engine } from '../engine.ts';
import type { ConvWeights } from './pack.ts';

/** Which kernel reads the panels, and how they are laid out. */
export interface PanelFormat {
  /** `s8`: weights as they are, for the 8-bit dot product; `s16`: weights minus zero point, widened. */
  readonly weightType: 's8' | 's16';
  readonly depthwise: boolean;
  /** Output channels a panel holds. */
  readonly columns: number;
  /** Weights of one output channel in one step. */
  readonly step: number;
  /** Rows of the indirection table per output pixel: taps, padded for depthwise kernels to whole steps. */
  readonly slots: number;
  /** Bytes one tap reads: channels of the group, or a whole kernel line when `mergedTaps` > 1. */
  readonly tapChannels: number;
  /** Innermost taps read as one contiguous run, for inputs of few channels; 1 when every tap is its own row. */
  readonly mergedTaps: number;
  readonly panelBytes: number;
  /** Runs of panels that read different input channels: the groups, or 1 for depthwise kernels. */
  readonly panelGroups: number;
  readonly panelsPerGroup: number;
}

/** Inputs with fewer channels than this read a whole kernel line at once, since four-byte steps would be half empty. */
const MERGE_BELOW_CHANNELS = 8;

/** The format for these weights on an engine: with an exact 8-bit dot product or without, and wide panels for wide vectors. */
export function panelFormat(
  weights: ConvWeights,
  { exactDot8, build }: Pick<Engine, 'exactDot8' | 'build'>,
): PanelFormat {
  const {
    outChannels,
    taps,
    contiguousTaps = 1,
    inChannelsPerGroup,
    groups,
    weight,
    weightZeroPoints,
    floatOutput = false,
  } = weights;
  const perGroup = outChannels / groups;
  const plainInt8 = weight instanceof Int8Array && Array.from(weightZeroPoints).every((z) => z === 0);
  const weightType = exactDot8 && plainInt8 ? 's8' : 's16';
  const step = weightType === 's8' ? 4 : 2;
  const weightBytes = weightType === 's8' ? 1 : 2;
  if (groups > 1 && inChannelsPerGroup === 1 && perGroup === 1 && !floatOutput) {
    const columns = weightType === 's8' ? 16 : 8;
    const padded = Math.ceil(taps / step) * step;
    const panelBytes = columns * (8 + padded * weightBytes);
    // The 8-bit kernel takes a single last tap by itself.
    const slots = weightType === 's8' && taps % step === 1 ? taps : padded;
    return {
      weightType,
      depthwise: true,
      columns,
      step,
      slots,
      tapChannels: 1,
      mergedTaps: 1,
      panelBytes,
      panelGroups: 1,
      panelsPerGroup: Math.ceil(outChannels / columns),
    };
  }
  const mergedTaps = groups === 1 && inChannelsPerGroup < MERGE_BELOW_CHANNELS ? contiguousTaps : 1;
  const slots = taps / mergedTaps;
  const tapChannels = inChannelsPerGroup * mergedTaps;
  const columns = weightType === 's8' && build === 'wide' && perGroup > 8 ? 16 : 8;
  const panelBytes = columns * (8 + slots * Math.ceil(tapChannels / step) * step * weightBytes);
  const panelsPerGroup = Math.ceil(perGroup / columns);
  return {
    weightType,
    depthwise: false,
    columns,
    step,
    slots,
    tapChannels,
    mergedTaps,
    panelBytes,
    panelGroups: groups,
    panelsPerGroup,
  };
}

/** The kernel for panels that are not depthwise whose result is bytes; `bounded` as `isBounded` of write-panels.ts says. */
export function bytesKernel(
  { weightType, columns }: PanelFormat,
  bounded: boolean,
): 'qu8s16_conv_u8' | `qu8${'s8' | 's8x16'}_conv_${'u8' | 'u8_bounded'}` {
  if (weightType === 's16') return 'qu8s16_conv_u8';
  return `qu8${columns === 16 ? 's8x16' : 's8'}_conv_${bounded ? 'u8_bounded' : 'u8'}`;
}

/** The kernel for panels that are not depthwise whose result is floats. */
export function floatsKernel({ weightType, columns }: PanelFormat): `qu8${'s16' | 's8' | 's8x16'}_conv_f32` {
  if (weightType === 's16') return 'qu8s16_conv_f32';
  return columns === 16 ? 'qu8s8x16_conv_f32' : 'qu8s8_conv_f32';
}

/** Bytes of all panels. */
export function panelsBytes({ panelGroups, panelsPerGroup, panelBytes }: PanelFormat): number {
  return panelGroups * panelsPerGroup * panelBytes;
}

/** Output channels with every panel filled up. */
export function paddedChannels(format: PanelFormat): number {
  return format.panelGroups * format.panelsPerGroup * format.columns;
}

/** Index of an output channel among the {@link paddedChannels}. */
export function paddedChannel(format: PanelFormat, outChannels: number, channel: number): number {
  const perGroup = outChannels / format.panelGroups;
  const group = Math.floor(channel / perGroup);
  return group * format.panelsPerGroup * format.columns + (channel - group * perGroup);
}
