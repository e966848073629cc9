// Entry point of both kernel builds: every kernel file of this folder is re-exported here.
export * from "./probe";
export * from "./minmax";
