// Making and printing JSON values; runtime/Core/Json reads them.
#ifndef MOE_FRONTENDS_HUGGINGFACE_JSONVALUES_H
#define MOE_FRONTENDS_HUGGINGFACE_JSONVALUES_H

#include "runtime/Core/Json.h"

namespace moe::hf {

rt::Json jsonObject();
rt::Json jsonArray();
rt::Json jsonText(std::string_view text);
rt::Json jsonNumber(int64_t value);
/// With as many digits as give the same number back.
rt::Json jsonNumber(double value);
rt::Json jsonBool(bool value);

/// What a number is; nothing where it is none, or too large for a double.
std::optional<double> finiteNumber(const rt::Json &json);

/// Sets the first member of that name, or adds one.
void setMember(rt::Json &object, std::string_view name, rt::Json value);
void eraseMember(rt::Json &object, std::string_view name);

/// Indented by two, a line for each member and each object of a list.
std::string printJson(const rt::Json &json);

} // namespace moe::hf

#endif // MOE_FRONTENDS_HUGGINGFACE_JSONVALUES_H
