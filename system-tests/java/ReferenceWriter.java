import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes records with the reference client into partition 0 of a topic: plain ones, and transactions of two producers that run through each other,
 * some committed and some aborted. Prints what a reader of committed records must see: offset, key, value and headers, a line each.
 *
 * ReferenceWriter BROKERS TOPIC none|gzip|snappy|lz4|zstd RECORDS
 */
public class ReferenceWriter {
  private static final List<String> visible = new ArrayList<>();
  private static String topic;
  private static int number = 0;

  public static void main(String[] arguments) throws Exception {
    String brokers = arguments[0], codec = arguments[2];
    topic = arguments[1];
    int records = Integer.parseInt(arguments[3]);
    try (var plain = producer(brokers, codec, null);
        var first = producer(brokers, codec, "first-" + topic);
        var second = producer(brokers, codec, "second-" + topic)) {
      first.initTransactions();
      second.initTransactions();
      write(plain, records, true);

      first.beginTransaction();
      write(first, records, true);
      second.beginTransaction();
      write(second, records, false);
      write(first, records, true);
      first.commitTransaction();
      write(plain, records, true);
      write(second, records, false);
      second.abortTransaction();

      // Two aborted transactions of one producer, one right after the other, and then a committed one.
      for (int i = 0; i < 2; i++) {
        first.beginTransaction();
        write(first, records, false);
        first.abortTransaction();
      }
      first.beginTransaction();
      write(first, records, true);
      first.commitTransaction();

      second.beginTransaction();
      write(second, records, true);
      second.commitTransaction();
    }
    visible.forEach(System.out::println);
  }

  private static KafkaProducer<byte[], byte[]> producer(String brokers, String codec, String transaction) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    properties.put("compression.type", codec);
    properties.put("linger.ms", "5");
    if (transaction != null) properties.put("transactional.id", transaction);
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }

  /** Writes and waits until all of it is in the log, where it is even if its transaction is aborted later. */
  private static void write(KafkaProducer<byte[], byte[]> producer, int records, boolean isVisible) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < records; i++, number++) {
      // Every seventh has no key, every eleventh no value.
      String key = number % 7 == 0 ? null : "key-" + number;
      String value = number % 11 == 0 ? null : "value " + number + " " + "pikachu ".repeat(number % 40);
      RecordHeaders headers = new RecordHeaders();
      for (int h = 0; h < number % 4; h++) headers.add("header-" + h, h == 2 ? null : utf8("of " + number));
      sent.add(producer.send(new ProducerRecord<>(topic, 0, 1_700_000_000_000L + number, utf8(key), utf8(value), headers)));
      StringBuilder text = new StringBuilder("|" + (1_700_000_000_000L + number) + "|" + key + "|" + value);
      headers.forEach((header) -> text.append("|" + header.key() + "=" + (header.value() == null ? null : new String(header.value(), StandardCharsets.UTF_8))));
      texts.add(text.toString());
    }
    producer.flush();
    for (int i = 0; i < records; i++) if (isVisible) visible.add(sent.get(i).get().offset() + texts.get(i));
  }

  private static byte[] utf8(String text) {
    return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
  }
}
