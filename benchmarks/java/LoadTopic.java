import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Makes a topic and fills it through the reference client, so that what is measured are the batches that Kafka's own producer writes.
 * Run as a single source file with Kafka's jars on the class path: LoadTopic BROKERS TOPIC PARTITIONS CODEC RECORDS VALUES real|distinct
 *
 * VALUES is a file with a line for each Pokémon, key and value separated by a tab; records go through them in a circle. "distinct" puts a number
 * of its own in place of each record's id, so that no two values are equal. The partition follows from the key.
 */
public class LoadTopic {
  private static final int FIRST_DISTINCT_ID = 1_000_000;

  record Pokemon(byte[] key, byte[] value, String afterId) {}

  public static void main(String[] arguments) throws Exception {
    String brokers = arguments[0], topic = arguments[1], codec = arguments[3];
    int partitions = Integer.parseInt(arguments[2]);
    long records = Long.parseLong(arguments[4]);
    List<Pokemon> pokemon = Files.readAllLines(Path.of(arguments[5])).stream().map(LoadTopic::parse).toList();
    boolean distinct = arguments[6].equals("distinct");

    try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
      admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
    }
    // One request at a time: a broker that does not know yet that it leads a new partition refuses the first batch, and would take the second one
    // for the beginning, after which the first is out of order for ever.
    Map<String, Object> settings = Map.of(
        "bootstrap.servers", brokers, "compression.type", codec, "linger.ms", 20, "batch.size", 256 * 1024, "buffer.memory", 64 << 20,
        "max.in.flight.requests.per.connection", 1);
    AtomicReference<Exception> failure = new AtomicReference<>();
    try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (long i = 0; i < records && failure.get() == null; i++) {
        Pokemon one = pokemon.get((int) (i % pokemon.size()));
        byte[] value = distinct ? utf8("{\"id\":" + (FIRST_DISTINCT_ID + i) + one.afterId) : one.value;
        producer.send(new ProducerRecord<>(topic, null, null, one.key, value, headers(i)), (metadata, error) -> {
          if (error != null) failure.set(error);
        });
      }
    }
    if (failure.get() != null) throw failure.get();
  }

  private static final byte[] SPEC_VERSION = utf8("1.0"), TYPE = utf8("pokemon.captured.v1"), TIME = utf8("2026-11-24T09:00:00.000Z"),
      SOURCE = utf8("/poke-api-producer/benchmark-0123456789abcdef"), CONTENT_TYPE = utf8("application/json");

  /** Seven, as the producer writes them. */
  private static RecordHeaders headers(long sequence) {
    byte[] digits = utf8(String.format("%016d", sequence));
    RecordHeaders headers = new RecordHeaders();
    headers.add("ce_specversion", SPEC_VERSION);
    headers.add("ce_type", TYPE);
    headers.add("ce_source", SOURCE);
    headers.add("ce_id", digits);
    headers.add("ce_time", TIME);
    headers.add("ce_sequence", digits);
    headers.add("content-type", CONTENT_TYPE);
    return headers;
  }

  private static Pokemon parse(String line) {
    String[] parts = line.split("\t", 2);
    return new Pokemon(utf8(parts[0]), utf8(parts[1]), parts[1].substring("{\"id\":".length() + parts[0].length()));
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
