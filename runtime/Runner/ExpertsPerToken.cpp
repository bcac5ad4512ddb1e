// --experts-per-token: a number that some models take as an input.
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/Program.h"

#include <cstdlib>
#include <cstring>

namespace moe::rt {

/// The numbers of the inputs under "experts_per_token_inputs" in the manifest.
/// Inside a JSON string a quote is escaped, so the quoted key is the key.
static std::vector<uint32_t> countInputs(const char *manifest) {
  constexpr char key[] = "\"experts_per_token_inputs\":";
  std::vector<uint32_t> inputs;
  const char *at = std::strstr(manifest, key);
  at = at ? std::strchr(at, '[') : nullptr;
  while (at && *at && *at != ']') {
    char *end = nullptr;
    unsigned long input = std::strtoul(++at, &end, 10);
    if (end == at)
      break;
    inputs.push_back(static_cast<uint32_t>(input));
    at = end;
  }
  return inputs;
}

/// `port`'s type and shape, with `value` in its only element.
static Result<Array> scalarFor(const moe_port &port, int64_t value) {
  Array array;
  array.name = port.name;
  array.tensor.dtype = port.dtype;
  array.tensor.rank = port.rank;
  for (int32_t d = 0; d < port.rank; ++d) {
    array.tensor.shape[d] = 1;
    if (port.dims[d] > 1)
      return Status{Code::Unsupported,
                    text("--experts-per-token: input ", quote(port.name),
                         " is ", portText(port), ", no single number")};
  }
  auto storage = Buffer::create(sizeof(int64_t));
  if (!storage)
    return storage.error();
  array.storage = std::move(*storage);
  array.tensor.data = array.storage.data();
  if (port.dtype == MOE_I64) {
    std::memcpy(array.tensor.data, &value, sizeof(value));
  } else if (port.dtype == MOE_I32) {
    int32_t narrow = static_cast<int32_t>(value); // at most 2^20
    std::memcpy(array.tensor.data, &narrow, sizeof(narrow));
  } else {
    return Status{Code::Unsupported,
                  text("--experts-per-token: input ", quote(port.name), " is ",
                       portText(port), ", neither int64 nor int32")};
  }
  return array;
}

Result<std::vector<Array>> setExpertsPerToken(Program &program) {
  std::vector<Array> arrays;
  if (!program.options.expertsPerToken)
    return arrays;
  for (uint32_t input : countInputs(program.api->manifest()))
    if (const moe_port *port = program.api->input(input)) {
      auto array = scalarFor(*port, program.options.expertsPerToken);
      if (!array)
        return array.error();
      Status status = program.setInput(array->name, array->tensor);
      if (!status.ok())
        return status;
      arrays.push_back(std::move(*array));
    }
  if (arrays.empty())
    return Status{Code::Unsupported,
                  text("--experts-per-token: model ",
                       quote(program.api->name()),
                       " takes no number of experts as an input; its experts "
                       "per token are fixed")};
  return arrays;
}

} // namespace moe::rt
