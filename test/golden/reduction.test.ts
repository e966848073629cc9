import { testGolden } from './cases.ts';

testGolden('reduction');
