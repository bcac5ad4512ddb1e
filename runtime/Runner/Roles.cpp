#include "runtime/Runner/Roles.h"

#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstring>

namespace moe::rt {
namespace {

bool contains(const std::string &text, const char *part) {
  return text.find(part) != text.npos;
}

bool isTokenType(int32_t dtype) { return dtype == MOE_I64 || dtype == MOE_I32; }

/// A name without what tells past from present: "past_key_values.0.key" and
/// "present.0.key" both become ".0.key".
std::string cacheStem(std::string name) {
  for (const char *word : {"past_key_values", "present_key_values", "past",
                           "present", "new", "_in", "_out", "updated"})
    for (size_t at; (at = name.find(word)) != name.npos;)
      name.erase(at, std::strlen(word));
  name.erase(std::remove(name.begin(), name.end(), '_'), name.end());
  return name;
}

/// Can the output of one run be the input of the next?
bool canFeedBack(const moe_port &present, const moe_port &past) {
  if (present.dtype != past.dtype || present.rank != past.rank)
    return false;
  bool grows = false;
  for (int32_t i = 0; i < past.rank; ++i) {
    if (past.dims[i] < 0)
      grows = true;
    else if (present.dims[i] >= 0 && present.dims[i] != past.dims[i])
      return false;
  }
  return grows;
}

struct Finder {
  const std::vector<const moe_port *> &inputs;
  const std::vector<const moe_port *> &outputs;
  const std::vector<Assignment> &overrides;
  Roles roles;

  std::string forced(const char *role) const {
    for (const auto &[name, given] : overrides)
      if (given == role)
        return name;
    return "";
  }
  bool isForced(const std::string &name) const {
    for (const auto &[port, role] : overrides)
      if (port == name)
        return true;
    return false;
  }
  bool taken(const std::string &name) const {
    if (name == roles.tokens || name == roles.positions || name == roles.mask ||
        name == roles.logits)
      return true;
    for (const auto &[past, present] : roles.caches)
      if (name == past || name == present)
        return true;
    return false;
  }

  /// The free candidate with the highest positive score; the first among
  /// equals.
  template <typename Score>
  std::string best(const char *role, const std::vector<const moe_port *> &ports,
                   Score score) {
    std::string chosen = forced(role);
    int highest = 0;
    if (!chosen.empty())
      return chosen;
    for (const moe_port *port : ports) {
      if (taken(port->name) || isForced(port->name))
        continue;
      int points = score(*port, std::string(port->name));
      if (points > highest) {
        highest = points;
        chosen = port->name;
      }
    }
    return chosen;
  }

  const moe_port *input(const std::string &name) const {
    for (const moe_port *port : inputs)
      if (name == port->name)
        return port;
    return nullptr;
  }

  void findCaches() {
    std::vector<const moe_port *> free;
    for (const moe_port *port : outputs)
      if (port->rank >= 3)
        free.push_back(port);
    for (const moe_port *past : inputs) {
      if (past->rank < 3 || !isFloat(past->dtype) || isForced(past->name))
        continue;
      // By stem where one matches, else the first of the right form: exporters
      // keep pasts and presents in the same order.
      auto fits = [&](const moe_port *port, bool byName) {
        return port && canFeedBack(*port, *past) && !isForced(port->name) &&
               (!byName || cacheStem(port->name) == cacheStem(past->name));
      };
      auto found = std::find_if(free.begin(), free.end(),
                                [&](auto *port) { return fits(port, true); });
      if (found == free.end())
        found = std::find_if(free.begin(), free.end(), [&](auto *port) {
          return fits(port, false) && !contains(port->name, "logits");
        });
      if (found == free.end())
        continue;
      roles.caches.emplace_back(past->name, (*found)->name);
      *found = nullptr;
    }
  }

  void find() {
    findCaches();
    roles.logits = best("logits", outputs, [](auto &port, std::string name) {
      if (!isFloat(port.dtype) || port.rank < 2 || port.rank > 3)
        return 0;
      int64_t last = port.dims[port.rank - 1];
      return 1 + (port.rank == 3) + (last > 1) + 4 * contains(name, "logits");
    });
    roles.tokens = best("tokens", inputs, [](auto &port, std::string name) {
      if (!isTokenType(port.dtype) || port.rank < 1 || port.rank > 2)
        return 0;
      bool other = contains(name, "mask") || contains(name, "position") ||
                   contains(name, "segment") || contains(name, "token_type");
      return 1 + (port.rank == 2) + 4 * contains(name, "input_ids") +
             2 * (contains(name, "ids") || contains(name, "token")) +
             (other ? -6 : 0);
    });
    roles.mask = best("mask", inputs, [&](auto &port, std::string name) {
      return port.rank == 2 && contains(name, "mask") ? 1 : 0;
    });
    roles.positions =
        best("positions", inputs, [&](auto &port, std::string name) {
          return isTokenType(port.dtype) && port.rank >= 1 && port.rank <= 2 &&
                         (contains(name, "position") ||
                          contains(name, "pos_id"))
                     ? 1
                     : 0;
        });
    // Without telling names: the mask is as long as past and present, the
    // positions are as long as the tokens.
    const moe_port *tokens = input(roles.tokens);
    if (tokens && tokens->rank == 2) {
      auto seqLike = [&](const moe_port &port) {
        return port.dims[1] == tokens->dims[1] &&
               !std::strcmp(port.dim_names[1], tokens->dim_names[1]);
      };
      if (roles.mask.empty() && !roles.caches.empty())
        roles.mask = best("mask", inputs, [&](auto &port, std::string) {
          return port.rank == 2 && port.dims[1] < 0 && !seqLike(port) ? 1 : 0;
        });
      if (roles.positions.empty())
        roles.positions =
            best("positions", inputs, [&](auto &port, std::string) {
              return isTokenType(port.dtype) && port.rank == 2 && seqLike(port)
                         ? 1
                         : 0;
            });
    }
    for (const moe_port *port : outputs)
      if (roles.logits == port->name && port->rank > 0 &&
          port->dims[port->rank - 1] > 0)
        roles.vocabulary = port->dims[port->rank - 1];
    for (const moe_port *port : inputs)
      if (!taken(port->name))
        roles.others.push_back(port->name);
  }
};

std::vector<const moe_port *> list(uint32_t count,
                                   const moe_port *(*port)(uint32_t)) {
  std::vector<const moe_port *> ports;
  for (uint32_t i = 0; i < count; ++i)
    ports.push_back(port(i));
  return ports;
}

} // namespace

Roles findRoles(const std::vector<const moe_port *> &inputs,
                const std::vector<const moe_port *> &outputs,
                const std::vector<Assignment> &overrides) {
  Finder finder{inputs, outputs, overrides, {}};
  finder.find();
  return finder.roles;
}

Roles findRoles(const Program &program) {
  return findRoles(list(program.api->num_inputs(), program.api->input),
                   list(program.api->num_outputs(), program.api->output),
                   program.options.roles);
}

bool isBatchAxis(const moe_port &past, int32_t axis, const moe_port *tokens) {
  if (past.dims[axis] >= 0)
    return false;
  bool named = past.dim_names[axis][0] && tokens && tokens->rank == 2 &&
               tokens->dims[0] < 0 && tokens->dim_names[0][0];
  return named ? !std::strcmp(past.dim_names[axis], tokens->dim_names[0])
               : axis == 0;
}

int32_t growingAxis(const moe_port &past, const moe_port &present,
                    const moe_port *tokens) {
  int32_t last = -1;
  for (int32_t i = 0; i < past.rank; ++i) {
    if (past.dims[i] >= 0 || isBatchAxis(past, i, tokens))
      continue;
    last = i;
    if (past.dim_names[i][0] &&
        std::strcmp(past.dim_names[i], present.dim_names[i]) != 0)
      return i;
  }
  return last;
}

Status checkRoles(const Program &program) {
  for (const auto &[name, role] : program.options.roles) {
    bool isLogits = role == "logits";
    if (!isLogits && role != "tokens" && role != "positions" && role != "mask")
      return {Code::InvalidArgument,
              "--role: " + quote(role) +
                  " is none of tokens, logits, positions, mask"};
    if (!(isLogits ? program.findOutput(name) : program.findInput(name)))
      return {Code::NotFound,
              text("--role: the model has no ", isLogits ? "output " : "input ",
                   quote(name))};
  }
  return {};
}

} // namespace moe::rt
