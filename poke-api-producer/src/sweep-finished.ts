/** What the producer tells its parent process when its sweep is finished: every Pokémon of it is in the topic, does not exist or was left out. */
import type { LeftOut, SweepProgress } from './entities/capture-order.ts'

export interface SweepFinished extends Pick<SweepProgress, 'captured' | 'types'> {
  readonly type: 'sweep-finished'
  readonly leftOut: LeftOut
}
