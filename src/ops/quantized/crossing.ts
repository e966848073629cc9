export const quantizeCrossing: any = {};
