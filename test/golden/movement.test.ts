import { testGolden } from './cases.ts';

testGolden('movement');
