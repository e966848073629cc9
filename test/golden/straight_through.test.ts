import { testGolden } from './cases.ts';

testGolden('straight_through');
