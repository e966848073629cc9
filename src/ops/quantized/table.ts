export const quantizedImplementations: any = {};
