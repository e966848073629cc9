// Entry point of both kernel builds: every kernel file of this folder is re-exported here.
export * from "./probe";
export * from "./minmax";
export * from "./f32_depthwise";
export * from "./f32_igemm";
export * from "./f32_outer";
export * from "./f32_pack";
export * from "./panel";
export * from "./qu8_conv";
export * from "./qu8_elementwise";
export * from "./qu8_pooling";
export * from "./qu8s16_depthwise";
export * from "./qu8s8_depthwise";
export * from "./f32_channels";
export * from "./f32_elementwise";
export * from "./f32_softmax";
export * from "./f32_pool";
export * from "./f32_winograd";
