// A layer of experts as files: its text, its weights, and what moe-opt makes
// of them.
#ifndef MOE_TOOLS_MOEBENCH_LAYERFILES_H
#define MOE_TOOLS_MOEBENCH_LAYERFILES_H

#include "tools/moe-bench/Options.h"

#include <string>
#include <vector>

namespace moe::bench {

/// The archive that all matrices are cut from: one router, then random numbers
/// a little longer than one matrix. Matrices start at different places in them,
/// so they differ although the file stays small; packed by the compiler they
/// are apart.
class LayerWeights {
public:
  LayerWeights(const LayerShape &shape, const std::string &type);

  /// Bytes of the file.
  size_t size() const { return bytes.size(); }
  const std::string &content() const { return bytes; }

  /// How quantised weights are stored.
  struct Quant {
    const char *name;
    int bits, block;
    const char *element, *scales, *code; ///< of the banks; "" for integers
  };
  /// Null where `type` is none of them.
  static const Quant *quantOf(const std::string &type);

  const std::string &typeName() const { return type; }
  /// Where matrix `which` (0 gate, 1 up, 2 down) of an expert begins.
  size_t offset(int64_t expert, int which) const;
  /// Row `e` of the router, `hidden` numbers of unit length together.
  const float *routerRow(int64_t expert) const;
  /// Element `i` of a matrix.
  float at(int64_t expert, int which, int64_t i) const;
  /// Bytes of one expert, scales included.
  double expertBytes() const;

  /// A module with the layer as `@main`, `x` to `y`, over the archive "layer".
  std::string moduleText() const;

private:
  size_t scaleOffset(int64_t expert, int which) const;
  size_t scaleBytes() const;
  float quantised(const char *data, int64_t expert, int which, int64_t i) const;

  LayerShape shape;
  std::string type;
  const Quant *quant;
  int64_t bits; ///< of a value
  size_t routerBytes, scalesStart = 0;
  std::string bytes;
};

/// Makes file `name` of a layer in the work folder, a library by default,
/// unless the one there was made by this compiler with these flags. "" with a
/// message in `error` when that fails.
std::string makeLayer(const LayerWeights &weights, const Options &options,
                      std::string &error, const std::string &name = "layer.so");

} // namespace moe::bench

#endif // MOE_TOOLS_MOEBENCH_LAYERFILES_H
