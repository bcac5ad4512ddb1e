#ifndef MOE_TOOLS_MOEBENCH_PEER_H
#define MOE_TOOLS_MOEBENCH_PEER_H

#include <string>
#include <sys/types.h>
#include <vector>

namespace moe::bench {
/// Another program that runs the same model on request: it prints "ready NAME
/// VERSION" and then answers each line, a request, with a line of times in
/// milliseconds. "N" asks for N runs on its inputs, a JSON object for a prompt
/// and steps of decoding (see peer_onnxruntime.py).
class Peer {
public:
  ~Peer();
  /// Starts `command`; false with a message in `error` when it does not get
  /// ready.
  bool start(const std::vector<std::string> &command, std::string &error);
  const std::string &name() const { return title; }
  /// What it answers; empty when the program has ended.
  std::vector<double> request(const std::string &request);

private:
  bool readLine(std::string &line);

  pid_t child = -1;
  int toChild = -1, fromChild = -1;
  std::string title, pending;
};
} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_PEER_H
