/** The snapshot that the page shows: the data of every event of `/api/events`, with its schema for the API's description. */
import { Type } from 'typebox'

const count = (description: string) => Type.Integer({ minimum: 0, description })
const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T, description: string) =>
  Type.Union([schema, Type.Null()], { description })
const countOrNull = (description: string) => orNull(Type.Integer({ minimum: 0 }), description)

export const PartitionSchema = Type.Object(
  {
    topic: Type.String(),
    topicId: Type.String({ description: "The topic's id: a topic made again under the same name has another one." }),
    partition: Type.Integer({ minimum: 0 }),
    position: countOrNull('The next offset to read; null where nothing was read yet.'),
    counted: count('Records counted.'),
    duplicates: count('Records recognised as sent before, and not counted again.'),
    deadLetters: count('Records that could not be counted.'),
    owner: orNull(Type.String(), 'The instance that opened it last; null where it is not known.'),
    here: Type.Boolean({ description: 'Whether this instance reads it.' }),
    lag: countOrNull(
      "Offsets from the group's position to the high watermark, whoever reads it: records not counted yet; null while that is not known.",
    ),
    heldBack: countOrNull('The part of `lag` that open transactions of producers hold back.'),
    stopped: orNull(Type.String(), 'Why this instance does not read on; null while it reads.'),
    unread: Type.Boolean({ description: 'Whether no instance of this service reads it, as far as the group tells.' }),
  },
  { title: 'Partition' },
)
export type PartitionRow = Type.Static<typeof PartitionSchema>

/** The sums of all partitions. */
export const SumsSchema = Type.Object(
  {
    counted: count('Records counted.'),
    duplicates: count('Records recognised as sent before, and not counted again.'),
    deadLetters: count('Records that could not be counted, and were not replayed.'),
    lag: countOrNull('Records of the topic that the group has not counted yet; null while that is not known of each of its partitions.'),
    heldBack: countOrNull('The part of `lag` that open transactions of producers hold back.'),
  },
  { title: 'Sums', description: 'Of all partitions: since the group began to count, or was reset.' },
)
export type Sums = Type.Static<typeof SumsSchema>

export const SnapshotSchema = Type.Object(
  {
    build: Type.String({ description: "Names the version of the page's files; a page of another version loads itself again." }),
    group: orNull(
      Type.Object({
        counted: count('Records counted by the whole group.'),
        duplicates: count('Duplicates recognised by the whole group.'),
        deadLetters: count('Dead letters of the whole group that were neither replayed nor purged.'),
        lag: countOrNull(
          'Records of the topic that the group has not counted yet, whoever reads them, as the brokers tell; null while that is not known.',
        ),
        heldBack: countOrNull('The part of `lag` that open transactions of producers hold back.'),
        rate: orNull(
          Type.Number({ minimum: 0 }),
          'Records counted a second, on average of the last `rateSeconds`; null where the store was not read twice lately.',
        ),
        rateSeconds: countOrNull('How long that is, in seconds: about 10, and up to 60 where little is counted.'),
        reasons: Type.Array(Type.Object({ reason: Type.String(), count: count('Dead letters with this reason.') })),
        types: Type.Array(Type.Object({ name: Type.String(), count: count('Captured Pokémon that have the type.') }), {
          description: 'The most frequent types, in descending order.',
        }),
        moreTypes: count('Types left out of `types`.'),
        partitions: Type.Array(PartitionSchema),
        morePartitions: count('Partitions left out of `partitions`.'),
        recent: Type.Array(
          Type.Object({ seen: Type.Integer(), id: Type.Integer(), name: Type.String(), types: Type.Array(Type.String()) }),
          {
            description: 'Some of the Pokémon counted last, whichever instance counted them, newest first; `seen` rises by one for each.',
          },
        ),
        newest: orNull(
          Type.Object({
            at: orNull(Type.Number(), 'Timestamp of the record, ms since 1970; null where no clock can show it.'),
            origin: orNull(Type.Union([Type.Literal('live'), Type.Literal('bundled')]), 'What its `ce_origin` says.'),
          }),
          'The record counted last, whichever instance counted it; null where none was yet.',
        ),
      }),
      'Of the whole group, as the store has it, at most a second old; null until it was read.',
    ),
    unread: Type.Array(Type.String(), {
      description: 'Which partitions no instance of this service reads, and which other programs are in its group: a sentence each.',
    }),
    troubles: Type.Array(Type.String(), { description: 'Why the figures of the group may be old, or are not known.' }),
    instance: Type.Object(
      {
        name: Type.String(),
        partitions: count('Partitions that this instance reads.'),
      },
      { description: 'What this instance alone can tell.' },
    ),
  },
  { title: 'Snapshot' },
)
export type Snapshot = Type.Static<typeof SnapshotSchema>
