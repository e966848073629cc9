/** Options of every classifier. */
export interface ClassifierOptions {
  /** Number of classes; that of the model's usual data set where not given. */
  readonly numClasses?: number;
}
