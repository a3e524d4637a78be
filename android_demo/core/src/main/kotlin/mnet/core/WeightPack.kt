package mnet.core

/** One version of the generated parameters that fits its bundle; [parameters] are in the order of the slots. */
class WeightPack(
    val version: Long,
    val probe: FloatArray,
    val parameters: Map<String, Tensor>,
)

private const val SCHEMA = "mnet.pack/1"
private const val PROBE_LENGTH = 16
private val FIELDS = setOf("schema", "bundle", "version", "generator", "probe")

/**
 * Check the bytes of a pack against the bundle that it is for; throws [Refused] by name.
 *
 * That its version is newer than the one served is for [SwapController] to check.
 */
fun readPack(data: ByteArray, manifest: Manifest): WeightPack {
    val file = Safetensors(data)
    val metadata = orMalformed("the pack's metadata") {
        asObject(parseJson(file.metadata.string("mnet")), "mnet").also(::checkFields)
    }
    val bundle = metadata.string("bundle")
    if (bundle != manifest.id) {
        throw Refused(Reason.WRONG_BUNDLE, "the pack is for bundle $bundle, this is ${manifest.id}")
    }
    val parameters = checkParameters(file.tensors(), manifest.slots)
    return WeightPack(metadata.long("version"), probe(metadata), parameters)
}

/** [tensors] in the order of [slots]; throws [Refused] unless they are what the slots take, and finite. */
fun checkParameters(tensors: Map<String, Tensor>, slots: List<Slot>): Map<String, Tensor> {
    val names = slots.map { it.parameter }
    names.firstOrNull { it !in tensors }?.let { throw Refused(Reason.MISSING_TENSOR, "no tensor $it") }
    (tensors.keys - names.toSet()).firstOrNull()?.let {
        throw Refused(Reason.EXTRA_TENSOR, "the bundle has no slot for $it")
    }
    for (slot in slots) {
        val tensor = tensors.getValue(slot.parameter)
        if (tensor.dtype != slot.dtype) {
            throw Refused(Reason.WRONG_DTYPE, "${slot.parameter} is ${tensor.dtype}, its slot ${slot.dtype}")
        }
        if (tensor.shape != slot.shape) {
            throw Refused(Reason.WRONG_SHAPE, "${slot.parameter} is ${tensor.shape}, its slot ${slot.shape}")
        }
        if (tensor.dtype == Tensor.FLOAT32 && !tensor.floats().all { it.isFinite() }) {
            throw Refused(Reason.NOT_FINITE, "${slot.parameter} holds a NaN or an infinity")
        }
    }
    return slots.associate { it.parameter to tensors.getValue(it.parameter) }
}

private fun checkFields(metadata: JsonObject) {
    if (metadata.keys != FIELDS) throw JsonException("its entries are ${metadata.keys}, not $FIELDS")
    if (metadata.string("schema") != SCHEMA) throw JsonException("unknown schema ${metadata["schema"]}")
    metadata.string("bundle")
    metadata.string("generator")
    if (metadata.long("version") < 0) throw JsonException("versions start at 0")
    val values = metadata.list("probe")
    if (values.size !in 1..PROBE_LENGTH || values.any { it !is Number || !it.toDouble().isFinite() }) {
        throw JsonException("the probe is not 1 to $PROBE_LENGTH finite numbers")
    }
}

private fun probe(metadata: JsonObject): FloatArray =
    metadata.list("probe").map { (it as Number).toFloat() }.toFloatArray()
