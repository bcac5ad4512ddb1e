#include "tools/moe-bank/Manifests.h"

#include "runtime/Bank/LedgerTable.h"
#include "runtime/Core/Text.h"

#include <cstdio>
#include <cstdlib>

using namespace moe::rt;

static std::string textOf(const Json &manifest, const char *name) {
  const Json *value = manifest.find(name);
  return value && (value->isString() || value->kind == Json::Kind::Number)
             ? printable(value->text)
             : "unknown";
}

static Status failed(const std::string &path, const std::string &why) {
  return Status(Code::InvalidFile, quote(path) + ": " + why);
}

Status moe::listLedger(const Json &manifest, const std::string &path) {
  auto ledger = ledgerLines(manifest);
  if (!ledger)
    return failed(path, ledger.error().message);
  auto front = frontLines(manifest);
  if (!front)
    return failed(path, front.error().message);
  auto refused = refusedLines(manifest);
  if (!refused)
    return failed(path, refused.error().message);
  if (!ledger->empty())
    std::printf("\ncompression:\n%s", ledgerTable(*ledger).c_str());
  if (!front->empty())
    std::printf("\nrecipes tried:\n%s", frontTable(*front).c_str());
  std::printf("%s", refusedTable(*refused).c_str());
  return {};
}

Status moe::listManifest(std::string_view manifest, const std::string &path) {
  std::optional<Json> json = parseJson(manifest);
  if (!json || !json->isObject())
    return failed(path, "its manifest is no JSON object");
  std::printf("compiled model for %s, fingerprint %s, %s parameters\n",
              textOf(*json, "target").c_str(),
              textOf(*json, "fingerprint").c_str(),
              textOf(*json, "parameters").c_str());
  return listLedger(*json, path);
}
