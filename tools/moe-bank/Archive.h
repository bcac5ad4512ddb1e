// Files that hold tensors, or parts that can be listed: all kinds as one.
#ifndef MOE_TOOLS_MOE_BANK_ARCHIVE_H
#define MOE_TOOLS_MOE_BANK_ARCHIVE_H

#include "runtime/Bank/Profile.h"
#include "runtime/Bundle/Bundle.h"
#include "runtime/Core/Json.h"
#include "runtime/Runner/Npz.h"

namespace moe {

/// One thing inside a file.
struct Entry {
  std::string name;
  std::string type;
  std::string shape;
  uint64_t size;
  const char *data;    // null for parts of compiled models
  moe_tensor tensor{}; // dtype 0 where it cannot be shown as numbers
};

/// What a checkpoint says about a file of its.
struct FileHash {
  std::string name;
  std::string_view bytes;
  uint64_t size;
  std::string sha256; // in hexadecimal
};

/// A file of any kind, or a folder; tensors point into it or into `arrays`.
struct Archive {
  std::string kind;
  std::string_view mapped;
  std::string_view manifest; // of compiled models
  std::vector<rt::Array> arrays;
  std::vector<rt::BundleSection> sections;
  std::vector<FileHash> hashes;   // of checkpoints that moe-opt wrote
  std::optional<rt::Json> ledger; // what compression cost, of those
  rt::Profile profile;
  std::vector<Entry> entries;
};

rt::Result<Archive> openArchive(const std::string &path);

/// Checks the hashes that there are.
rt::Status verifyArchive(const Archive &archive, const std::string &path);

} // namespace moe

#endif // MOE_TOOLS_MOE_BANK_ARCHIVE_H
