// Which input of a language model is what.
#ifndef MOE_RUNTIME_RUNNER_ROLES_H
#define MOE_RUNTIME_RUNNER_ROLES_H

#include "runtime/Runner/Program.h"

#include <string>
#include <utility>
#include <vector>

namespace moe::rt {

/// Names of ports by role; "" where the model has none.
struct Roles {
  std::string tokens;     // integers [batch, seq]
  std::string positions;  // integers [batch, seq] or [seq]
  std::string mask;       // [batch, past + seq], 1 where attended to
  std::string logits;     // floats [batch, seq, vocabulary]
  int64_t vocabulary = 0; // 0: unknown
  /// Caches: an input that grows, and the output that is its next value.
  std::vector<std::pair<std::string, std::string>> caches; // (past, present)
  /// Inputs without a role; the caller has to give them.
  std::vector<std::string> others;
};

/// Finds roles by type and shape; names decide between equals, and --role over
/// everything. Never fails: what is not found stays empty.
Roles findRoles(const Program &program);

/// The same on bare ports, for tests. `overrides` are (port, role).
Roles findRoles(const std::vector<const moe_port *> &inputs,
                const std::vector<const moe_port *> &outputs,
                const std::vector<Assignment> &overrides);

/// The axis along which a cache grows: the free one, other than the batch,
/// whose symbol changes from past to present; without symbols the last free
/// one. -1 where there is none.
int32_t growingAxis(const moe_port &past, const moe_port &present,
                    const moe_port *tokens);

/// Is this axis of a cache the batch?
bool isBatchAxis(const moe_port &past, int32_t axis, const moe_port *tokens);

/// Refuses overrides that name no port or no role.
Status checkRoles(const Program &program);

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_ROLES_H
