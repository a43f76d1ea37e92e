// Lets a test drop messages between Cassandra nodes: loaded into each node as a Java agent (tests/engines/agent.py).
//
// Argument: the path of a file. While it holds lines "VERB HOST", messages of that verb (org.apache.cassandra.net.Verb)
// to that host are dropped by the node that sends them. An empty or missing file drops nothing. Read every 20 ms;
// what is dropped now stands in the same path with ".seen" added.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.apache.cassandra.net.MessagingService;

public class DropMessages implements Runnable {
    private final Path file;
    private volatile Set<String> dropped = Set.of();

    private DropMessages(Path file) {
        this.file = file;
    }

    public static void premain(String argument) {
        Thread thread = new Thread(new DropMessages(Path.of(argument)), "drop-messages");
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void run() {
        boolean added = false;
        while (true) {
            try {
                Thread.sleep(20);
                Set<String> wanted = Files.exists(file) ? Set.copyOf(Files.readAllLines(file)) : Set.of();
                if (wanted.equals(dropped)) continue;
                if (!added) {  // not before the first test asks for it: the node is up by then
                    MessagingService.instance().outboundSink.add(
                        (message, to) -> !dropped.contains(message.verb() + " " + to.getAddress().getHostAddress()));
                    added = true;
                }
                dropped = wanted;
                Files.write(Path.of(file + ".seen"), wanted);
            } catch (Exception error) {
                error.printStackTrace();
            }
        }
    }
}
