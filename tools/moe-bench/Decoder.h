#ifndef MOE_TOOLS_MOEBENCH_DECODER_H
#define MOE_TOOLS_MOEBENCH_DECODER_H

#include "runtime/Runner/Random.h"
#include "runtime/Runner/Roles.h"
#include "tools/moe-bench/Options.h"

namespace moe::bench {

/// Prints an error; returns `code`.
int fail(const std::string &why, int code = 1);

/// Opens the model and a session of it; false after a message.
bool open(const Options &options, rt::Program &program);

/// A model that reads tokens behind those it has read.
class Decoder {
public:
  explicit Decoder(rt::Program &program)
      : program(program), roles(rt::findRoles(program)) {}

  rt::Status prepare();
  rt::Status reset();
  /// Appends tokens; returns milliseconds.
  rt::Result<double> feed(int64_t count);
  /// What the peer has to know.
  std::string request(int64_t prompt, int64_t steps) const;

private:
  rt::Status set(const std::string &name, std::vector<char> &bytes,
                 int64_t count, int64_t first, bool random);
  rt::Status empty(const std::string &past, const std::string &present,
                   moe_tensor &tensor) const;

  rt::Program &program;
  rt::Roles roles;
  rt::Random random{1};
  int64_t past = 0;
  std::vector<char> tokens, positions, mask;
};

} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_DECODER_H
