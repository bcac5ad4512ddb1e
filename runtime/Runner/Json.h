// Just enough JSON to write profiles and traces.
#ifndef MOE_RUNTIME_RUNNER_JSON_H
#define MOE_RUNTIME_RUNNER_JSON_H

#include <string>
#include <string_view>

namespace moe::rt {

/// A JSON string literal. Bytes that are no UTF-8 are written as \u00XX.
std::string jsonString(std::string_view text);

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_JSON_H
