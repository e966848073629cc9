import { testGolden } from './cases.ts';

testGolden('elementwise');
