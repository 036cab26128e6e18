import Compute
import Models
import Tensors

/// Multiply-adds and bytes of a model's parts, by its measures.
struct ModelCosts {
  let config: ModelConfig
  let tower: TowerShape

  private var queryWidth: Int { config.headCount * config.headDimension }
  private var keyWidth: Int { config.keyValueHeadCount * config.headDimension }
  private var hybridLayers: Int { config.hybrid?.layers.count ?? 0 }

  /// Of one frame, by stage: the stem counts to the first, a downsampling to the stage it leads to.
  func towerStages() -> [Int] {
    var side = config.imageSize / tower.patch
    var stages: [Int] = []
    for (stage, width) in tower.widths.enumerated() {
      let previous = stage == 0 ? 3 * tower.patch * tower.patch : 4 * tower.widths[stage - 1]
      if stage > 0 { side /= 2 }
      stages.append(side * side * width * (previous + tower.depths[stage] * (49 + 2 * tower.innerWidths[stage])))
    }
    return stages
  }

  func crossKeyValues(slowTokens: Int) -> Int { hybridLayers * slowTokens * config.hiddenSize * 2 * keyWidth }

  /// All layers for one token that sees `context` entries, itself included, and reads `slowTokens`.
  func token(context: Int, slowTokens: Int) -> Int {
    let linear = config.hiddenSize * (2 * queryWidth + 2 * keyWidth + 3 * config.intermediateSize)
    let cross = slowTokens > 0 ? hybridLayers * (2 * slowTokens + 1) * queryWidth : 0
    return config.layerCount * (linear + 2 * context * queryWidth) + cross
  }

  var head: Int { config.hiddenSize * config.vocabularySize }

  /// A prompt of which `crossTokens` read the slow tokens.
  func prefill(tokens: Int, crossTokens: Int, slowTokens: Int) -> Int {
    let plain = (tokens - crossTokens) * token(context: 0, slowTokens: 0) + crossTokens * token(context: 0, slowTokens: slowTokens)
    return plain + config.layerCount * queryWidth * tokens * (tokens + 1) + head
  }

  /// What a generated token reads: the weights but those of the slow tokens' keys and values, and the caches.
  func generationBytes(_ source: any WeightSource, context: Int, slowTokens: Int, cacheType: ScalarType) -> Int {
    func cache(_ entries: Int) -> Int {
      KeyValueCache.byteCount(
        heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: entries, type: cacheType)
    }
    let names = source.schema.decoderNames.filter { !$0.contains("cross_attn_kv_proj") }
    return source.residentBytes(names) + config.layerCount * cache(context) + hybridLayers * cache(slowTokens)
  }
}
