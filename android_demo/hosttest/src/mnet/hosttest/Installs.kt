package mnet.hosttest

import java.io.File
import mnet.core.Bundle
import mnet.core.Kept
import mnet.core.Phone
import mnet.core.PhoneEvent
import mnet.core.SwapController
import mnet.core.WeightStore
import mnet.core.verifyRelease

/**
 * Starts a phone on its state and installs the versions of a folder one after the other, until it is killed.
 *
 * Prints `started V`, `kept V` after each version, and `refused ...` for a kept version that does not verify.
 * Arguments: the bundle, the state, the folder with `V.jws` and `V.safetensors`.
 */
fun main(arguments: Array<String>) {
    val (bundleFolder, state, installs) = arguments.map(::File)
    val bundle = Bundle.open(bundleFolder)
    val store = WeightStore(state)
    val phone = Phone(bundle, Machine.program(bundle), store, { event ->
        if (event is PhoneEvent.RefusedWeights) println("refused ${event.reason}: ${event.detail}")
    })
    println("started ${phone.live.version}")
    val identity = checkNotNull(store.identity())
    var running = phone.running
    SwapController(bundle, Machine.program(bundle)).use { controller ->
        var version = phone.live.version + 1
        while (true) {
            val pack = File(installs, "$version.safetensors")
            if (!pack.isFile) break
            val jws = File(installs, "$version.jws").readText()
            val release = verifyRelease(jws, identity.keys, identity.device, bundle.id, version - 1, now = null)
            controller.swap(pack.readBytes())
            val kept = Kept(jws, release)
            store.save(kept, pack.readBytes(), running)
            running = kept
            println("kept $version")
            version++
        }
    }
    println("done")
}
